"""Tests that model configs and sampling options do not import torch, so that the command line starts quickly."""

import subprocess
import sys


def test_configs_and_sampling_options_do_not_import_torch() -> None:
    code = "import sys, mdnrnn.models.configs, mdnrnn.generation.sampling; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
