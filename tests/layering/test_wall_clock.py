"""Nothing that decides depends on the wall clock, which may jump: it is read only for what people and templates are shown."""
import pathlib
import re

WALL_CLOCK = re.compile(r"system_clock|std::time\(|\btime\((nullptr|NULL|0)\)|gettimeofday|CLOCK_REALTIME|high_resolution_clock|utc_clock|GPR_CLOCK_REALTIME")
SHOWN = {
    "base/log_line.cc": "when a line was written",
    "frontend/model_catalog.cc": "when a model came, in /v1/models",
    "openai/exchange.cc": "`created` of answers",
    "openai/preparation.cc": "the date in a chat template, passed on",
    "openai/preparation.h": "the same",
    "openai/service.cc": "the same, read here",
    "router/chooser.cc": "when a decision was made, for who asks later",
    "router/decision_log.h": "the same",
    "text/chat_template.cc": "strftime_now of templates",
    "text/chat_template.h": "the same",
    "text/jinja/globals.cc": "the same",
    "text/jinja/interpreter.h": "the same",
    "worker/worker_node.cc": "when a worker started, in what it announces",
}


def test_the_wall_clock_is_read_only_for_what_is_shown():
    src = pathlib.Path(__file__).resolve().parents[2] / "src"
    files = [path for path in src.rglob("*") if path.suffix in {".h", ".cc", ".cu"} and not re.search(r"_(test|bench|fuzz)\.cc$", path.name)]
    readers = {str(path.relative_to(src)) for path in files if WALL_CLOCK.search(path.read_text())}
    assert readers == set(SHOWN)
