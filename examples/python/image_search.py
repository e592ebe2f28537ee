"""Search for images by what is on them.

    pip install scikit-learn
    python image_search.py

The images are the 1,797 handwritten digits of 8 × 8 pixels that come with scikit-learn, so that nothing is downloaded. Their
embedding is the simplest there is, the pixels themselves: enough for digits of one size. For photographs take a model
in place of `embed`, for instance CLIP, which also finds images by texts; the rest stays as it is:

    model = sentence_transformers.SentenceTransformer("clip-ViT-B-32")
    embed = lambda images: model.encode(images)          # and model.encode(["a red car"]) to search by words
"""

import tempfile

import numpy as np

import nearfield as nf

QUERIES = 300


def embed(images: np.ndarray) -> np.ndarray:
    """Vectors of images: shape (images, 8, 8) to (images, 64)."""
    return images.reshape(len(images), -1).astype(np.float32)


def index(db: nf.Database, images: np.ndarray, labels: np.ndarray) -> nf.Collection:
    vectors = embed(images)
    digits = db.collection("digits", dim=vectors.shape[1], metric="cosine")
    digits.upsert(np.arange(len(images)), vectors, {"digit": labels})
    return digits


def drawn(images: list[np.ndarray]) -> str:
    """Images side by side, as text."""
    shades = " .:-=+*#%@"
    lines = []
    for y in range(8):
        rows = ("".join(shades[min(int(pixel * 10 // 17), 9)] * 2 for pixel in image[y]) for image in images)
        lines.append("  ".join(rows))
    return "\n".join(lines)


def main() -> float:
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    images = images.reshape(-1, 8, 8)
    asked, shelf = images[:QUERIES], images[QUERIES:]
    with tempfile.TemporaryDirectory() as folder, nf.open(folder + "/digits.nf") as db:
        digits = index(db, shelf, labels[QUERIES:])
        hits = digits.search(embed(asked[:1])[0], k=4)
        print("asked for, and the four nearest:")
        print(drawn([asked[0], *(shelf[hit.id] for hit in hits)]))

        ids, _ = digits.search_batch(embed(asked), k=1)
        right = float((labels[QUERIES:][ids[:, 0]] == labels[:QUERIES]).mean())
        print(f"{right:.1%} of {QUERIES} digits that are not stored have the same digit nearest")

        # The nearest image of each other digit: what this one might be mistaken for.
        other = digits.search(embed(asked[:1])[0], k=3, group_by="digit", where=nf.col("digit") != int(labels[0]))
        print("nearest other digits:", [hit["digit"] for hit in other])
        return right


if __name__ == "__main__":
    main()
