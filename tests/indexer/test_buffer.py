import threading
import time

import pytest

from indexer.buffer import BoundedBuffer, BufferClosedError


def test_items_come_out_in_the_order_they_went_in():
    buffer = BoundedBuffer(10)
    for item in "abc":
        buffer.put(item)
    assert [buffer.get(), buffer.get(), buffer.get()] == ["a", "b", "c"]


def test_get_gives_none_when_nothing_comes_in_time():
    assert BoundedBuffer(1).get(timeout_seconds=0.01) is None


def test_put_waits_until_the_weight_inside_leaves_room():
    buffer = BoundedBuffer(10)
    buffer.put("heavy", 8)
    done = threading.Event()

    def put_more():
        buffer.put("more", 3)
        done.set()

    thread = threading.Thread(target=put_more)
    thread.start()
    assert not done.wait(0.1)
    assert buffer.get() == "heavy"
    assert done.wait(60)
    thread.join()


def test_one_item_may_weigh_more_than_the_whole_budget():
    buffer = BoundedBuffer(10)
    buffer.put("giant", 1000)
    assert buffer.get() == "giant"


@pytest.mark.parametrize("waiting", ["put", "get"])
def test_closing_wakes_whoever_waits(waiting):
    buffer = BoundedBuffer(1)
    if waiting == "put":
        buffer.put("full")
    raised = []

    def wait():
        try:
            buffer.put("x") if waiting == "put" else buffer.get()
        except BufferClosedError as error:
            raised.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.05)
    buffer.close()
    thread.join(60)
    assert len(raised) == 1
