"""The HTTP surface: health, readiness, metrics, a page. It sees a `Status`, and nothing of the actors' insides."""
