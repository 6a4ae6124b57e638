"""Write the pages of docs/reference: `python -m nextbasis.manual`, from the repository's root."""

from nextbasis.manual import pages

for path, text in pages().items():
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    print(path)
