"""Official checkpoints of the families: read, checked, renamed, and written back.

Those of published tokenizers are in `autoencoders`.
"""

from nextbasis.official.imports import (
    Imported,
    export_state,
    import_checkpoint,
    import_state,
    load_imported,
    save_imported,
)
from nextbasis.official.names import official_name, our_name

__all__ = [
    "Imported",
    "export_state",
    "import_checkpoint",
    "import_state",
    "load_imported",
    "official_name",
    "our_name",
    "save_imported",
]
