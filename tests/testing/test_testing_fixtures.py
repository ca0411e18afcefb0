"""The fixtures for pytest, in a run of their own with every warning an error, as a user has them."""

import subprocess
import sys
import textwrap

PLUGINS = 'pytest_plugins = ["ingest_actors.testing.fixtures"]\n'


def run_tests(directory, tests, conftest=PLUGINS):
    (directory / "conftest.py").write_text(conftest)
    (directory / "test_users.py").write_text(textwrap.dedent(tests))
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:trio", directory],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=directory,
    )


def test_a_ready_exchange_and_a_factory(tmp_path):
    done = run_tests(
        tmp_path,
        """
        import httpx

        def test_one_that_is_ready(simulated_exchange):
            assert httpx.get(simulated_exchange.rest_url + "/api/v3/ping").json() == {}
            assert simulated_exchange.ws_url.startswith("ws://")

        def test_several_of_ones_own(make_simulated_exchange):
            one = make_simulated_exchange(symbols=("ADAUSDT",))
            other = make_simulated_exchange(symbols=("XRPUSDT",))
            assert one.ws_url != other.ws_url
            one.close()
            assert other.trades("XRPUSDT") == []

        def test_nothing_is_left():
            import threading
            assert threading.active_count() == 1
        """,
    )
    assert "3 passed" in done.stdout, done.stdout


def test_a_fixture_of_the_users_configures_the_ready_one(tmp_path):
    done = run_tests(
        tmp_path,
        """
        import pytest
        from ingest_actors.testing import SimulatorConfig

        @pytest.fixture
        def simulated_exchange_config():
            return SimulatorConfig(symbols=("ADAUSDT",))

        def test_it(simulated_exchange):
            assert simulated_exchange.config.symbols == ("ADAUSDT",)
        """,
    )
    assert "1 passed" in done.stdout, done.stdout


def test_a_failure_of_the_exchange_fails_the_test_that_used_it(tmp_path):
    done = run_tests(
        tmp_path,
        """
        def test_it(simulated_exchange):
            def crash(inside):
                scheduler = inside.simulated.source.scheduler
                scheduler.at(scheduler.now_us + 1, lambda: 1 / 0)
            simulated_exchange._ask(crash)
            simulated_exchange._thread.join(10)
        """,
    )
    assert "1 passed, 1 error" in done.stdout, done.stdout
    assert "ExchangeFailed: the simulated exchange has failed: ZeroDivisionError" in done.stdout
