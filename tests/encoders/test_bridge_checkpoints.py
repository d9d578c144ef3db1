"""`mmsearch bridge` with CLIP and CLAP as their libraries save them: that it runs, not how well."""

from mmsearch import Engine, Query
from mmsearch.query import Term


def test_a_bridge_between_a_tiny_clip_and_a_tiny_clap(tmp_path, tiny, tiny_clap, make, monkeypatch):
    from mmsearch.bridge import build
    from mmsearch.bridge.captions import FOLDS, captions

    # Random weights learn nothing from more captions.
    some = tuple(next(c for c in captions()[at:] if c.fold == at // 40 % FOLDS) for at in range(0, 4000, 40))
    monkeypatch.setattr(build, "captions", lambda: some)
    name = f"open_clip:{tiny.save(tmp_path / 'clip')}+clap:{tiny_clap}"
    folder = tmp_path / "media"
    for number, colour in enumerate([(255, 0, 0), (0, 255, 0), (0, 0, 255)]):
        make.video(folder / f"{number}.mp4", [colour] * 2, ["cat", "dog"])
        make.image(folder / f"{number}.png", colour)
        make.tones(folder / f"{number}.wav", ["sea"] * (number + 1))
    with Engine.open(tmp_path / "library", model=name) as engine:
        assert engine.index(folder).failed == 0
        report = engine.make_bridge()
        assert (report.captions, report.trial.videos) == (100, 3)
        assert report.trial.verdict(report.trial.sound_to_visual) == "too few"
        # An open library, and one that is opened again, cross it.
        asked = Query((Term.of_file(folder / "1.png"),), k=9, kinds=("audio",))
        found = [(hit.path, hit.score) for hit in engine.query(asked)]
        assert len(found) == 3
    with Engine.open(tmp_path / "library") as engine:
        assert [(hit.path, hit.score) for hit in engine.query(asked)] == found
        assert engine.query(Query((Term.of_file(folder / "1.wav"),), k=9, kinds=("image",)))
