"""The generated pages of the reference: what operations support, benchmarks, gradient checks, the glossary.

Each function returns Markdown; `language` is "en" or "ko".
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import nbdl
from nbdl import ops
from nbdl.testing.properties import WITHOUT_FLOAT16
from nbdl.testing.specs import all_specs

DOCS = Path(__file__).parent
ROOT = DOCS.parent


def _table(heads: list[str], rows: list[list[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


# ---------------------------------------------------------------- what operations support


def _reference_pages() -> dict[str, str]:
    """The page of the API reference on which each family of operations, or one file of it, stands."""
    pages = (DOCS / "en" / "reference" / "ops").glob("*.md")
    return {
        family: page.stem
        for page in pages
        for family in re.findall(r"^!family ([\w.]+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    }


def _operations() -> Iterator[tuple[str, list]]:
    """Every operation in the order of its name, with its rows of the table of checks."""
    rows: dict[str, list] = {}
    for spec in all_specs():
        rows.setdefault(spec.name.split(":")[0], []).append(spec)
    yield from sorted(rows.items())


def support_table(language: str) -> str:
    """One row for each operation that the checks know, read from their table."""
    pages = _reference_pages()
    rows = []
    for name, specs in _operations():
        function = getattr(ops, name, None) or getattr(nbdl, name, None) or specs[0].function
        module = getattr(function, "__module__", "")
        inside = module.removeprefix("nbdl.ops.")
        page = pages.get(inside) or pages.get(inside.split(".")[0])
        link = f"`{name}`"
        if page and (hasattr(ops, name) or hasattr(nbdl, name)):
            address = f"../ops/{page}/#{module}.{function.__name__}"
            link = f'<a href="{address}"><code>{name}</code></a>'
        arguments = dict.fromkeys(argument for spec in specs for argument in spec.differentiable)
        types = {kind for spec in specs for kind in spec.tolerance}
        if name in WITHOUT_FLOAT16:
            types.remove("float16")
        references = dict.fromkeys(getattr(spec.reference, "__name__", "") for spec in specs if spec.reference)
        tolerance = max(spec.tolerance.get("float32", 0.0) for spec in specs)
        rows.append(
            [
                link,
                "CPU, CUDA",
                ", ".join(sorted(types)),
                " ".join(f"`{argument}`" for argument in arguments) or "–",
                " ".join(f"`{name}`" if name.endswith("_reference") else "NumPy" for name in references) or "–",
                f"{tolerance:.0e}",
                str(len(specs)),
                str(sum(len(spec.refusals) for spec in specs)),
            ]
        )
    heads = {
        "en": ["operation", "targets", "types", "gradients", "definition", "float32 within", "variants", "refuses"],
        "ko": ["연산", "장치", "자료형", "기울기", "정의", "float32 오차", "변형", "거절"],
    }[language]
    total = {"en": "{} operations, {} rows.", "ko": "연산 {}개, 검사 표의 행 {}개."}[language]
    return f"{total.format(len(rows), len(all_specs()))}\n\n{_table(heads, rows)}"


# ---------------------------------------------------------------- benchmarks


_KOREAN_TITLES = {
    "attention": "어텐션",
    "cnn": "합성곱 신경망",
    "convolution": "합성곱",
    "gan": "생성적 적대 신경망",
    "gemm": "행렬 곱",
    "gpt": "GPT",
    "in_place": "제자리 연산",
    "mlp": "다층 퍼셉트론",
    "normalization": "정규화",
    "optimizer": "옵티마이저",
    "pointwise": "원소별 연산",
    "pooling": "풀링",
    "recurrent": "순환 신경망",
    "resizing": "크기 바꾸기",
    "softmax": "소프트맥스",
    "transformer_layers": "트랜스포머 층",
    "transformer_parts": "트랜스포머의 부품",
    "Start and memory": "시작과 메모리",
    "In a web page": "웹 페이지에서",
}
_KOREAN_CELLS = {
    "case": "경우",
    "threads": "스레드",
    "ratio": "배율",
    "what": "항목",
    "network, rows": "신경망, 행",
    "plain JavaScript": "순수 자바스크립트",
    "import + first training step, warm cache": "import와 첫 학습 걸음, 캐시가 있을 때",
    "import + first training step, empty cache": "import와 첫 학습 걸음, 캐시가 비었을 때",
    "peak memory of 200 MLP steps": "MLP 200걸음의 최대 메모리",
}


def benchmark_tables(language: str) -> str:
    """The results of `make bench`, section by section; in Korean the tables alone."""
    text = (ROOT / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8")
    text = text.split("\n", 1)[1]  # its title
    if language == "en":
        return text
    introduction, *sections = re.split(r"^## ", text, flags=re.MULTILINE)
    machine = introduction.strip().split("\n\n")[0]
    parts = [machine]
    for section in sections:
        title, body = section.split("\n", 1)
        table = "\n".join(line for line in body.splitlines() if line.startswith("|"))
        for english, korean in _KOREAN_CELLS.items():
            table = table.replace(f"| {english} |", f"| {korean} |")
        table = re.sub(r"geometric mean of (\d+)", r"\1개의 기하 평균", table)
        table = re.sub(r"(\d+) lost", r"뒤진 것 \1개", table)
        table = re.sub(r"\((\d+\.\d+) to (\d+\.\d+)\)", r"(\1–\2)", table)
        if table:
            parts.append(f"## {_KOREAN_TITLES.get(title, title)}\n\n{table}")
    return "\n\n".join(parts)


# ---------------------------------------------------------------- gradient checks


def gradient_checks(language: str) -> str:
    """The stored report of `make gradcheck-report`: its sums, then the operations with the largest errors first."""
    report = json.loads((DOCS / "reports" / "gradcheck.json").read_text(encoding="utf-8"))
    sums, rows = report["totals"], report["rows"]
    labels = {
        "en": ("operations", "cases drawn", "gradients compared", "kinks skipped", "complex steps", "rows that failed"),
        "ko": ("연산", "뽑은 경우", "견준 기울기", "건너뛴 꺾임", "복소 차분", "실패한 행"),
    }[language]
    keys = ("operations", "cases", "gradients", "kinks", "complex_steps", "failed")
    summary = _table(["", report["date"]], [[label, f"{sums[key]:,}"] for label, key in zip(labels, keys, strict=True)])
    heads = {
        "en": ["operation", "cases", "gradients", "kinks", "complex steps", "float32 cases", "largest error"],
        "ko": ["연산", "경우", "기울기", "꺾임", "복소 차분", "float32", "가장 큰 오차"],
    }[language]
    counted = ("cases", "elements", "kinks", "complex_steps", "float32")
    ordered = sorted((row for row in rows if row["elements"]), key=lambda row: -row["largest_error"])
    table = _table(
        heads,
        [
            [f"`{row['name']}`", *(f"{row[key]:,}" for key in counted), f"{100 * row['largest_error']:.2f} %"]
            for row in ordered
        ],
    )
    return f"{summary}\n\n{table}"


# ---------------------------------------------------------------- glossary


def glossary(language: str) -> str:
    """The terms of docs/terms.toml in groups, each with a link to its page."""
    groups = tomllib.loads((DOCS / "terms.toml").read_text(encoding="utf-8"))["group"]
    parts = []
    for group in groups:
        rows = []
        for english, korean, meaning, meaning_in_korean, page in group["terms"]:
            address = f"../../{page.removesuffix('index')}".rstrip("/") + "/"
            if language == "en":
                rows.append([f'<a href="{address}">{english}</a>', f'<span lang="ko">{korean}</span>', meaning])
            else:
                rows.append(
                    [f'<a href="{address}">{korean}</a>', f'<span lang="en">{english}</span>', meaning_in_korean]
                )
        heads = {"en": ["English", "Korean", "meaning"], "ko": ["한국어", "영어", "뜻"]}[language]
        title = group["english"] if language == "en" else group["korean"]
        parts.append(f"## {title}\n\n{_table(heads, rows)}")
    return "\n\n".join(parts)
