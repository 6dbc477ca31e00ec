"""Coded concepts of common labels of the brain: SNOMED CT, as DICOM PS3.16 lists it (CID 7140 to 7151)."""

import re
from dataclasses import dataclass

Code = tuple[str, str]  # SNOMED CT's number, its meaning

TISSUE: Code = ("85756007", "Tissue")
STRUCTURE: Code = ("91723000", "Anatomical Structure")
SUBSTANCE: Code = ("91720002", "Body Substance")
ABNORMAL: Code = ("49755003", "Morphologically Abnormal Structure")
SIDES: dict[str, Code] = {"left": ("7771000", "Left"), "right": ("24028007", "Right")}
SHORT_SIDES = {"l": "left", "lh": "left", "r": "right", "rh": "right"}

_TABLE: dict[Code, dict[Code, tuple[str, ...]]] = {
    TISSUE: {
        ("389081007", "Gray Matter"): ("gray matter", "grey matter", "gm", "grey", "gray"),
        ("389080008", "White Matter"): ("white matter", "wm", "white"),
        ("40146001", "Cerebral Gray Matter"): ("cerebral gray matter", "cerebral cortex", "cortex"),
        ("68523003", "Cerebral White Matter"): ("cerebral white matter",),
        ("33060004", "Cerebellar White Matter"): ("cerebellar white matter", "cerebellum white matter"),
        ("25991003", "Cerebellar Cortex"): ("cerebellar cortex", "cerebellum cortex"),
    },
    SUBSTANCE: {("65216001", "Cerebrospinal Fluid"): ("cerebrospinal fluid", "csf")},
    STRUCTURE: {
        ("12738006", "Brain"): ("brain",),
        ("119238007", "Brain Stem"): ("brain stem", "brainstem"),
        ("113305005", "Cerebellum"): ("cerebellum",),
        ("35764002", "Brain ventricle"): ("ventricle", "ventricles"),
        ("66720007", "Lateral Ventricle"): ("lateral ventricle", "lateral ventricles"),
        ("49841001", "Third ventricle"): ("third ventricle", "3rd ventricle"),
        ("35918002", "Fourth Ventricle"): ("fourth ventricle", "4th ventricle"),
        ("5366008", "Hippocampus"): ("hippocampus",),
        ("4958002", "Amygdala"): ("amygdala",),
        ("42695009", "Thalamus"): ("thalamus", "thalamus proper"),
        ("11000004", "Caudate Nucleus"): ("caudate", "caudate nucleus"),
        ("89278009", "Putamen"): ("putamen",),
        ("14738005", "Globus Pallidus"): ("pallidum", "globus pallidus"),
        ("427667007", "Nucleus Accumbens"): ("accumbens", "nucleus accumbens", "accumbens area"),
        ("36169008", "Insula"): ("insula",),
        ("88442005", "Corpus callosum"): ("corpus callosum",),
        ("61962009", "Midbrain"): ("midbrain",),
        ("1231004", "Meninges"): ("meninges",),
        ("56329008", "Pituitary"): ("pituitary", "pituitary gland"),
        ("89546000", "Skull"): ("skull",),
    },
    ABNORMAL: {
        ("108369006", "Neoplasm"): (
            *("tumor", "tumour", "neoplasm", "glioma", "whole tumor", "tumor core", "enhancing"),
            *("enhancing tumor", "enhancing tumour", "et", "tc", "wt", "metastasis"),
        ),
        ("6574001", "Necrosis"): ("necrosis", "necrotic", "necrotic core", "ncr", "necrotic tumor core"),
        ("79654002", "Edema"): ("edema", "oedema", "peritumoral edema", "ed"),
        ("52988006", "Lesion"): ("lesion", "lesions", "white matter lesion", "stroke lesion"),
        ("50960005", "Hemorrhage"): ("hemorrhage", "haemorrhage", "bleeding"),
        ("367643001", "Cyst"): ("cyst",),
    },
}
_BY_NAME = {
    name: (category, kind)
    for category, kinds in _TABLE.items()
    for kind, names in kinds.items()
    for name in names
}


@dataclass(frozen=True)
class Concept:
    """The meaning of a label. side: left or right, None where the name has none."""

    category: Code
    kind: Code
    side: Code | None = None


def concept_of(label: str) -> Concept:
    """The concept that a label's name stands for; Tissue where the table has no such name."""
    words = re.sub(r"[^a-z0-9]+", " ", label.casefold()).split()
    side = None
    for place in (0, -1):
        if len(words) > 1 and side is None:
            name = SHORT_SIDES.get(words[place], words[place])
            if name in SIDES:
                side = SIDES[name]
                words = words[1:] if place == 0 else words[:-1]
    category, kind = _BY_NAME.get(" ".join(words), (TISSUE, TISSUE))
    return Concept(category, kind, side)


def known_concepts() -> list[Code]:
    """Every code of the table."""
    return [*_TABLE, *SIDES.values(), *dict.fromkeys(kind for _, kind in _BY_NAME.values())]
