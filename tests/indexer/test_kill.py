"""`kill -9` at many random moments, for real: the library ends up as if nobody had ever interrupted it."""

import os
import subprocess
import sys

import pytest

KILLS = 40

# One process imports everything, then forks a child for each run, so that a kill comes every few hundredths of a
# second rather than every second. The children are killed at random moments of their whole life: opening and
# migrating the library, scanning, encoding, committing, saving the index.
SCRIPT = """
import os, random, signal, sys, time
from indexer.testing import FakeEncoder
from mmsearch import Engine, IndexOptions
import faiss, indexer.pipeline, indexer.media, PIL.Image, av

media, library, kills, seed = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
rng = random.Random(seed)
options = IndexOptions(batch_size=4, commit_files=3, commit_seconds=0.02)

def run():
    with Engine.open(library, model=FakeEncoder(seconds_per_batch=0.01)) as engine:
        engine.index(media, options=options)

killed = finished = 0
longest = 0.4
while killed < kills:
    child = os.fork()
    if child == 0:
        try:
            run()
        except BaseException as error:
            print("CHILD FAILED", type(error), error, flush=True)
            os._exit(1)
        os._exit(0)
    time.sleep(rng.uniform(0, longest))
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        killed += 1
    elif os.WEXITSTATUS(status):
        sys.exit("a run failed after a kill")
    else:
        finished += 1
        for name in list(os.listdir(media))[:: rng.randint(3, 9)]:  # give the next runs something to do
            path = os.path.join(media, name)
            if name.endswith(".png"):
                os.utime(path, ns=(finished, finished))
run()
print(f"killed {killed} finished {finished}")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the test forks, which Windows cannot")
@pytest.mark.parametrize("seed", [1, 2])
def test_killed_at_random_moments_the_library_ends_up_as_an_uninterrupted_one(tmp_path, make, snapshot, seed):
    from indexer.testing import FakeEncoder
    from indexer.verify import verify
    from mmsearch import Engine

    media = tmp_path / "media"
    for n in range(120):
        make.image(media / f"{n:03}.png", (n, 255 - n, n // 2), (n, 0, 0))
    for n in range(4):
        make.tones(media / f"{n}.wav", [["cat", "dog"][n % 2], None, "sea"])
    make.video(media / "clip.mp4", [(255, 0, 0), (0, 255, 0)], ["tree", "tree"])
    (media / "bad.jpg").write_bytes(b"")
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, media, tmp_path / "killed", str(KILLS), str(seed)],
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.startswith(f"killed {KILLS}"), run.stdout
    with Engine.open(tmp_path / "killed") as killed, Engine.open(tmp_path / "whole", model=FakeEncoder()) as whole:
        whole.index(media)
        assert snapshot(killed) == snapshot(whole)
        report = verify(killed._library)
        assert (report.problems, report.repaired) == ([], [])
        leftovers = [path.name for path in (tmp_path / "killed").rglob("*.tmp")]
        assert len(leftovers) < 5
