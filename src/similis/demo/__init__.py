"""The demo: a search engine over the docstrings of the running Python, with every step measured.

May import everything but the command line. ``running`` does it, ``showing`` tells it.
"""

from similis.demo.running import DemoResult, run_demo

__all__ = ["DemoResult", "run_demo"]
