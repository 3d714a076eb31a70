"""
Tiny ONNX networks with the inputs and outputs of the files that a user supplies; built at once.

They mean something. The detector knows the pictures that it is given: it compares the colours
around each planted face and answers with that face's box and points, exactly. The identity is a
fixed projection. The swapper returns its target, or mixes in a colour that the identity decides.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from backends.engines.faces import Floats, Pixels

SIDE, CELL = 640, 8
STRIDES = (8, 16, 32)
CLOSE = 0.002  # mean square of what differs, of colours between -1 and 1
INPUT, FREE = "input.1", "?"


@dataclass(frozen=True, eq=False)
class Planted:
    """A face that the detector shall find in this picture; pixels of the picture."""

    picture: Pixels
    box: tuple[float, float, float, float]
    five: Floats
    score: float = 0.99


def detector(path: Path, faces: Sequence[Planted], close: float = CLOSE) -> None:
    """
    At most six faces: each has an anchor of its own, two for every size of cells. `close` is how
    much of the mean square of its colours may differ.
    """
    places = [(stride, anchor) for stride in STRIDES for anchor in (0, 1)]
    planted = dict(zip(places, faces, strict=False))
    nodes = [
        helper.make_node("AveragePool", [INPUT], ["p"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("Mul", ["p", "p"], ["pp"]),
    ]
    constants = [_constant("ones", np.ones((1, 3, 3, 3), "f4")), *_shapes(close)]
    for stride in STRIDES:
        pair = [planted.get((stride, anchor)) for anchor in (0, 1)]
        more, held = _scores(stride, pair)
        nodes += more
        constants += held
        for name, values in (("box", _boxes(pair, stride)), ("five", _points(pair, stride))):
            blank = np.zeros((values.size, 3, 1, 1), "f4")
            constants += [_constant(f"{name}{stride}w", blank)]
            constants += [_constant(f"{name}{stride}b", values.reshape(-1).astype("f4"))]
            step = stride // CELL
            given = ["p", f"{name}{stride}w", f"{name}{stride}b"]
            nodes.append(helper.make_node("Conv", given, [f"{name}{stride}c"], strides=[step] * 2))
            nodes += _rows(f"{name}{stride}", f"{name}{stride}c", name)
    outputs = [
        helper.make_tensor_value_info(f"{name}{stride}", TensorProto.FLOAT, [None, last])
        for name, last in (("score", 1), ("box", 4), ("five", 10))
        for stride in STRIDES
    ]
    _save(path, nodes, {INPUT: [1, 3, FREE, FREE]}, outputs, constants)


def _scores(stride: int, pair: Sequence[Planted | None]) -> tuple[list, list]:
    """score = its own where the colours around the cell are those of the planted face, else 0."""
    kernel, bias, best = np.zeros((2, 3, 3, 3), "f4"), np.full(2, -1e3, "f4"), np.zeros(2, "f4")
    for anchor, face in enumerate(pair):
        if face is not None:
            patch = _patch(face, stride)
            kernel[anchor], best[anchor] = patch, face.score
            bias[anchor] = -(patch**2).sum()
    names = [f"score{stride}{part}" for part in "kbxtyzsm"]
    k, b, x, t, y, z, s, m = names
    step = {"strides": [stride // CELL] * 2, "pads": [1, 1, 1, 1]}
    nodes = [
        helper.make_node("Conv", ["p", k, b], [x], **step),  # 2·p·T − |T|²
        helper.make_node("Conv", ["pp", "ones"], [t], **step),  # |p|²
        helper.make_node("Sub", [x, t], [y]),  # − |p − T|²
        helper.make_node("Add", [y, "close"], [z]),
        helper.make_node("Mul", [z, "steep"], [s]),
        helper.make_node("Clip", [s, "zero", "one"], [f"{s}c"]),
        helper.make_node("Mul", [f"{s}c", m], [f"{m}r"]),
        *_rows(f"score{stride}", f"{m}r", "score"),
    ]
    best = best.reshape(1, 2, 1, 1)
    return nodes, [_constant(k, 2 * kernel), _constant(b, bias), _constant(m, best)]


def _rows(name: str, given: str, kind: str) -> list:
    return [
        helper.make_node("Transpose", [given], [f"{name}rolled"], perm=[0, 2, 3, 1]),
        helper.make_node("Reshape", [f"{name}rolled", f"{kind}rows"], [name]),
    ]


def _shapes(close: float) -> list:
    rows = {"score": 1, "box": 4, "five": 10}
    values = {"close": close * 27, "steep": 1 / (close * 13), "zero": 0.0, "one": 1.0}
    return [
        *(_constant(f"{name}rows", np.array([-1, n], np.int64)) for name, n in rows.items()),
        *(_constant(name, np.float32(value)) for name, value in values.items()),
    ]


def _letterbox(picture: Pixels) -> tuple[Pixels, float]:
    ratio = SIDE / max(picture.shape[:2])
    size = (int(picture.shape[1] * ratio), int(picture.shape[0] * ratio))
    canvas = np.zeros((SIDE, SIDE, 3), np.uint8)
    method = cv2.INTER_AREA if ratio < 1 else cv2.INTER_LINEAR
    canvas[: size[1], : size[0]] = cv2.resize(picture, size, interpolation=method)
    return canvas, picture.shape[1] / size[0]


def _cell(face: Planted, stride: int) -> tuple[int, int]:
    """Column and row of the anchor nearest to the face's middle."""
    ratio = _letterbox(face.picture)[1]
    x0, y0, x1, y1 = face.box
    return round((x0 + x1) / 2 / ratio / stride), round((y0 + y1) / 2 / ratio / stride)


def _patch(face: Planted, stride: int) -> Floats:
    """The mean colours of 3 × 3 cells of 8 pixels around the anchor, as the network sees them."""
    canvas = (_letterbox(face.picture)[0].astype(np.float32) - 127.5) / 128
    cells = canvas.reshape(SIDE // CELL, CELL, SIDE // CELL, CELL, 3).mean((1, 3))
    column, row = (at * stride // CELL for at in _cell(face, stride))
    return cells[row - 1 : row + 2, column - 1 : column + 2].transpose(2, 0, 1)


def _boxes(pair: Sequence[Planted | None], stride: int) -> Floats:
    values = np.zeros((2, 4), np.float32)
    for anchor, face in enumerate(pair):
        if face is not None:
            ratio = _letterbox(face.picture)[1]
            x, y = (at * stride for at in _cell(face, stride))
            x0, y0, x1, y1 = np.array(face.box) / ratio
            values[anchor] = np.array([x - x0, y - y0, x1 - x, y1 - y]) / stride
    return values


def _points(pair: Sequence[Planted | None], stride: int) -> Floats:
    values = np.zeros((2, 5, 2), np.float32)
    for anchor, face in enumerate(pair):
        if face is not None:
            ratio = _letterbox(face.picture)[1]
            at = np.array(_cell(face, stride)) * stride
            values[anchor] = (np.asarray(face.five) / ratio - at) / stride
    return values


def recogniser(path: Path, numbers: int = 512, side: int = 112) -> None:
    """The mean colours of 7 × 7 parts, projected on fixed random directions."""
    random = np.random.default_rng(1)
    part = side // 7
    nodes = [
        helper.make_node(
            "AveragePool", [INPUT], ["p"], kernel_shape=[part] * 2, strides=[part] * 2
        ),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "W", "B"], ["683"]),
    ]
    outputs = [helper.make_tensor_value_info("683", TensorProto.FLOAT, ["None", numbers])]
    weights = random.standard_normal((147, numbers)).astype("f4")
    constants = [_constant("W", weights), _constant("B", weights[0] * 0.1)]
    _save(path, nodes, {INPUT: ["None", 3, side, side]}, outputs, constants)


def emap() -> Floats:
    """A turn of 512 numbers."""
    random = np.random.default_rng(2)
    turn, _ = np.linalg.qr(random.standard_normal((512, 512)))
    return turn.astype(np.float32)


def colours(latent: Floats) -> Floats:
    """The colour (0 to 1, RGB) that the swapper mixes in for a latent."""
    return 1 / (1 + np.exp(-(latent.reshape(1, -1) @ _directions()))).reshape(-1)


def _directions() -> Floats:
    return np.random.default_rng(3).standard_normal((512, 3)).astype("f4") * 3


def swapper(
    path: Path,
    share: float = 0.5,
    side: int = 128,
    scale: float = 1.0,
    tidy: bool = False,
    element: int = TensorProto.FLOAT,
    pattern: Floats | None = None,
) -> None:
    """
    `share` of the identity's colour and the rest of the target; 0 returns the target. `tidy`
    leaves the emap out, as tools that tidy up do; `scale` is what the output is multiplied with,
    and `pattern` (side × side, 0 to 1) what is added to each of its pixels.
    """
    extra = np.zeros((side, side), "f4") if pattern is None else pattern
    kind = helper.tensor_dtype_to_np_dtype(element)
    nodes = [
        helper.make_node("Gemm", ["source", "W"], ["c"]),
        helper.make_node("Sigmoid", ["c"], ["d"]),
        helper.make_node("Reshape", ["d", "rows"], ["e"]),
        helper.make_node("Mul", ["e", "share"], ["f"]),
        helper.make_node("Mul", ["target", "rest"], ["t"]),
        helper.make_node("Add", ["t", "f"], ["mixed"]),
        helper.make_node("Add", ["mixed", "pattern"], ["output"]),
    ]
    constants = [
        _constant("pattern", extra.astype(kind)),
        _constant("W", _directions().astype(kind)),
        _constant("rows", np.array([1, 3, 1, 1], np.int64)),
        _constant("share", kind.type(share * scale)),
        _constant("rest", kind.type((1 - share) * scale)),
        *([] if tidy else [_constant("buff2fs", emap())]),
    ]
    outputs = [helper.make_tensor_value_info("output", element, [1, 3, side, side])]
    inputs = {"target": [1, 3, side, side], "source": [1, 512]}
    _save(path, nodes, inputs, outputs, constants, element)


def restorer(path: Path, contrast: float = 1.0, picture: Floats | None = None) -> None:
    """More contrast; with contrast 0 whatever it is given becomes `picture` (512 × 512 × 3)."""
    always = np.zeros((512, 512, 3), "f4") if picture is None else picture / 127.5 - 1
    nodes = [
        helper.make_node("Mul", ["input", "contrast"], ["m"]),
        helper.make_node("Add", ["m", "always"], ["a"]),
        helper.make_node("Clip", ["a", "low", "high"], ["output"]),
    ]
    values = {"contrast": contrast, "low": -1.0, "high": 1.0}
    constants = [_constant(name, np.float32(value)) for name, value in values.items()]
    constants.append(_constant("always", always.transpose(2, 0, 1)[None].astype("f4")))
    outputs = [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 3, 512, 512])]
    _save(path, nodes, {"input": [1, 3, 512, 512]}, outputs, constants)


def anything(path: Path, side: int) -> None:
    """A network that takes a picture of this size and gives it back."""
    nodes = [helper.make_node("Identity", [INPUT], ["same"])]
    outputs = [helper.make_tensor_value_info("same", TensorProto.FLOAT, [1, 3, side, side])]
    _save(path, nodes, {INPUT: [1, 3, side, side]}, outputs, [])


def greedy(path: Path, numbers: int) -> None:
    """Wants memory for so many numbers at each run."""
    nodes = [helper.make_node("Expand", [INPUT, "shape"], ["all"])]
    outputs = [helper.make_tensor_value_info("all", TensorProto.FLOAT, [FREE])]
    _save(path, nodes, {INPUT: [1]}, outputs, [_constant("shape", np.array([numbers]))])


def build(folder: Path, faces: Sequence[Planted], share: float = 0.5) -> None:
    """The three files that must be there."""
    folder.mkdir(parents=True, exist_ok=True)
    detector(folder / "det_10g.onnx", faces)
    recogniser(folder / "w600k_r50.onnx")
    swapper(folder / "inswapper_128.onnx", share)


def _constant(name: str, value: np.ndarray | np.generic) -> onnx.TensorProto:
    return numpy_helper.from_array(np.ascontiguousarray(value), name)


def _save(
    path: Path,
    nodes: list,
    inputs: dict[str, list],
    outputs: list,
    constants: list,
    element: int = TensorProto.FLOAT,
) -> None:
    given = [helper.make_tensor_value_info(name, element, shape) for name, shape in inputs.items()]
    graph = helper.make_graph(nodes, "tiny", given, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    onnx.save(model, path)
