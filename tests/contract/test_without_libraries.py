"""
A portal without `make models`: every checkpoint of every family says which command brings what it
lacks, and what is embedded loads. The libraries are hidden in a process of its own.
"""

import json
import subprocess
import sys
from pathlib import Path

from backends.families import FAMILIES

MODELS = [(family, model) for family in FAMILIES.values() for model in family.models.values()]
CHECKPOINTS = {model.name: family.name for family, model in MODELS if model.files and model.load}
EMBEDDED = {model.name: family.name for family, model in MODELS if model.embedded}
PROGRAM = """
import json, sys
from importlib.abc import MetaPathFinder
from pathlib import Path

LIBRARIES = {"huggingface_hub", "modelscope_hub", "onnx", "pynvml", "safetensors", "tokenizers",
             "torch", "transformers"}

class Hidden(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in LIBRARIES:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hidden())
from backends.engines import weights
from backends.families import FAMILIES
from backends.settings import Models, Settings

chosen = Settings(models=Models(folder=Path(sys.argv[1]), device="cpu"))
said = {}
for name, family in json.loads(sys.argv[2]).items():
    try:
        FAMILIES[family].models[name].load(chosen).close()
        said[name] = "loads"
    except Exception as error:
        said[name] = getattr(weights.foreseen(error), "text", repr(error))
print(json.dumps(said))
"""


def test_every_checkpoint_says_what_installs_its_libraries_and_what_is_embedded_loads(
    tmp_path: Path,
) -> None:
    for _, model in MODELS:
        for name in model.files:
            file = tmp_path / model.source / name.replace("*", "model")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
    asked = json.dumps(CHECKPOINTS | EMBEDDED)
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path), asked],
        cwd=root, capture_output=True, text=True, check=True,
    )  # fmt: skip
    said = json.loads(done.stdout)
    told = {name: sentence.replace("onnx is", "torch is") for name, sentence in said.items()}
    wanted = "the library torch is missing; `make models` installs it"
    assert told == dict.fromkeys(EMBEDDED, "loads") | dict.fromkeys(CHECKPOINTS, wanted)
    assert said["inswapper"].startswith("the library onnx is")
