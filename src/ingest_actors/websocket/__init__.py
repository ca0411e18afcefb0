"""WebSocket connections by trio-websocket, with the messages cut in bulk: `feed.open_feed`."""
