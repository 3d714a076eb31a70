"""TEI's shape, where no model is needed: scores at the ends of the scale."""

import math

from backends.engines.rerank import Relevance
from backends.families import FAMILIES
from backends.routes.dialects.tei import TeiShape
from backends.serving import Answer
from backends.serving.wire.question import Terms
from backends.serving.wire.text import Sent
from backends.settings import Limits


def test_a_raw_score_is_finite_where_the_score_has_no_logit() -> None:
    terms = Terms(Limits(), FAMILIES["rerank"], "bm25")
    sent = Sent({"query": "x", "texts": ["a", "b", "c"], "raw_scores": True}, [])
    outputs = (Relevance(0.0), Relevance(1.0), Relevance(0.5))
    ranks = TeiShape().read(sent, terms).write(Answer(outputs, "bm25", 0, 3, 0.0, 0.0))
    assert [rank["index"] for rank in ranks] == [1, 2, 0]
    assert ranks[1]["score"] == 0
    assert all(math.isfinite(rank["score"]) for rank in ranks)
    assert ranks[0]["score"] == -ranks[2]["score"] > 700
