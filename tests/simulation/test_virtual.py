"""Virtual time keeps the promises of what it stands in for."""

import pytest
import trio
import virtual


async def _cancelled_in_the_thread():
    with trio.CancelScope() as scope:
        done = await trio.to_thread.run_sync(_cancelling(scope))
        return done, scope.cancel_called
    return "cut off"


def _cancelling(scope):
    def job():
        try:
            trio.from_thread.run_sync(scope.cancel)
        except RuntimeError:  # no thread at all
            scope.cancel()
        return "done"

    return job


@pytest.mark.parametrize("run", [trio.run, lambda function: virtual.run(1, function)], ids=["threads", "virtual"])
def test_what_is_begun_in_a_thread_is_finished_and_told_to_who_is_cancelled_meanwhile(run):
    assert run(_cancelled_in_the_thread) == ("done", True)
