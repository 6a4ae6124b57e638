"""Result tables: published and measured numbers side by side, as Markdown, LaTeX, HTML and CSV."""
