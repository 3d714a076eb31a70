"""What LibreTranslate's and DeepL's words have in common: texts to passages, and languages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from backends.engines import Capabilities
from backends.engines.translate import Passage, Translation, check
from backends.errors import BadInput
from backends.serving import Answer
from backends.serving.wire.translate import MOST_TEXTS

Names = Mapping[str, str]
"""Our fields' names, `text`, `source` and `target`, as the caller wrote them."""


@dataclass(frozen=True, slots=True)
class Batch:
    """
    The texts of a request and what is asked of the model: those with letters, as the rest (a
    blank line, a number) is its own translation and its language cannot be told. Where none has
    letters all are asked, so that the model's own sentence is heard.
    """

    texts: tuple[str, ...]
    asked: tuple[int, ...]

    def all(self, answer: Answer) -> list[tuple[str, Translation]]:
        """Each text's translation, with what the model said; that of the first for the rest."""
        said: dict[int, Translation] = dict(zip(self.asked, answer, strict=True))
        return [
            (said[n].text if n in said else text, said.get(n, answer[0]))
            for n, text in enumerate(self.texts)
        ]


def batch_of(texts: Sequence[str], field: str) -> Batch:
    if not texts:
        raise BadInput(f"{field} is empty; send at least one.", field=field)
    if len(texts) > MOST_TEXTS:
        raise BadInput(
            f"{field} holds {len(texts)}; send at most {MOST_TEXTS} at once.", field=field
        )
    asked = tuple(n for n, text in enumerate(texts) if any(map(str.isalpha, text)))
    return Batch(tuple(texts), asked or tuple(range(len(texts))))


def checked(passage: Passage, names: Names) -> Passage:
    try:
        return check(passage)
    except BadInput as error:
        error.field = names.get(error.field, error.field)
        raise


def warnings_of(answer: Answer) -> list[str]:
    """What the model said of its translations, each sentence once."""
    return list(dict.fromkeys(text for each in answer for text, _ in each.warnings))


def targets(capabilities: Capabilities) -> dict[str, list[str]]:
    """For each source that the loaded model reads, the languages it translates it into."""
    spoken = capabilities.languages
    pairs = capabilities.pairs or tuple((a, b) for a in spoken for b in spoken if a != b)
    return {a: [b for source, b in pairs if source == a] for a in dict(pairs)}
