"""The files that an evaluation writes."""

from __future__ import annotations

import json
from pathlib import Path

from zmask_ros.evaluation.protocol.runner import Evaluation, Results
from zmask_ros.evaluation.report.html import html_report
from zmask_ros.evaluation.report.result import EvaluationResult
from zmask_ros.io.files import replace_file

JSON_NAME, HTML_NAME = "evaluation.json", "report.html"


def write_result(evaluation: Evaluation, results: Results, result: EvaluationResult) -> tuple[Path, Path]:
    """Write JSON and HTML into the evaluation's folder, and give their paths."""
    written = evaluation.folder / JSON_NAME, evaluation.folder / HTML_NAME
    replace_file(written[0], json.dumps(result.to_json(), indent=1).encode())
    replace_file(written[1], html_report(evaluation, results, result).encode())
    return written
