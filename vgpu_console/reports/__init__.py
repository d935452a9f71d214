"""The fleet at one moment as a document that is handed over: Markdown, HTML, JSON, CSV."""
