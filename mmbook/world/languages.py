"""The world in Chinese and German (中文, 德语), and the way back to the facts.

A language is a table here: how a thing is named, in each grammatical case, and the forms
that a sentence can take. A sentence is parsed by trying the forms and looking the names
up. So what parses is also correct: a wrong gender, case or measure word does not.

    forms = a | opening a | a relation b | opening a relation b
          | relation b "is" a | a "and" relation "it" b | a "and" b
"""

from __future__ import annotations

from .facts import OPPOSITE, Description
from .grammar import Form, Grammar

_CHINESE_NOUNS = {  # the measure words (量词) that it takes, the usual first; the noun
    "circle": ("个", "圆形"),
    "square": ("个", "正方形"),
    "triangle": ("个", "三角形"),
    "star": ("颗个", "五角星"),
    "cross": ("个", "十字"),
    "ring": ("个", "圆环"),
    None: ("个", "图形"),
}
_CHINESE_COLOURS: dict[str | None, str] = {
    "red": "红色",
    "orange": "橙色",
    "yellow": "黄色",
    "green": "绿色",
    "cyan": "青色",
    "blue": "蓝色",
    "purple": "紫色",
    "black": "黑色",
}
_CHINESE_SIZES: dict[str | None, str] = {"big": "大", "small": "小"}
_CHINESE_PLACES = {
    "left of": ("左边", "左侧"),
    "right of": ("右边", "右侧"),
    "above": ("上方", "上面"),
    "below": ("下方", "下面"),
}


def _chinese_names(said: Description) -> list[dict[str, str]]:
    """ "一个大的红色圆形" or "一个红色的大圆形"; never "大红色", which is bright red."""
    measures, noun = _CHINESE_NOUNS[said.shape]
    size = _CHINESE_SIZES.get(said.size)
    colour = _CHINESE_COLOURS.get(said.colour)
    if size and colour:
        looks = [f"{size} 的 {colour}", f"{colour} 的 {size}"]
    elif size or colour:
        looks = [f"{size or colour} 的", f"{size or colour}"]
    else:
        looks = [""]
    return [
        {"nominative": f"一 {measure} {look} {noun}"}
        for measure in measures
        for look in looks
    ]


def _chinese_forms() -> list[Form]:
    there_is = ("图中 有", "画面上 有", "可以 看到")
    forms = [Form("{a}"), Form("{a} 和 {b}")]
    forms += [Form(f"{start} {{a}}") for start in there_is]
    forms += [Form(f"{start} {{a}} 和 {{b}}") for start in there_is]
    for relation, places in _CHINESE_PLACES.items():
        for place in places:
            forms += [
                Form(f"{{a}} 在 {{b}} 的 {place}", relation),
                Form(f"{{a}} 在 {{b}} {place}", relation),
                Form(f"图中 {{a}} 在 {{b}} 的 {place}", relation),
                Form(f"可以 看到 {{a}} 在 {{b}} 的 {place}", relation),
                Form(f"{{b}} 的 {place} 有 {{a}}", relation),
            ]
            forms += [
                Form(f"{start} {{a}} ， 它 的 {place} 有 {{b}}", OPPOSITE[relation])
                for start in there_is
            ]
    return forms


CHINESE = Grammar("Chinese", _chinese_names, _chinese_forms(), spaced=False)
_GERMAN_NOUNS = {  # the noun, its gender
    "circle": ("Kreis", "masculine"),
    "square": ("Quadrat", "neuter"),
    "triangle": ("Dreieck", "neuter"),
    "star": ("Stern", "masculine"),
    "cross": ("Kreuz", "neuter"),
    "ring": ("Ring", "masculine"),
    None: ("Ding", "neuter"),
}
_GERMAN_COLOURS: dict[str | None, str] = {
    "red": "rot",
    "orange": "orangefarben",  # "orange" itself takes no endings
    "yellow": "gelb",
    "green": "grün",
    "cyan": "türkisfarben",
    "blue": "blau",
    "purple": "violett",
    "black": "schwarz",
}
_GERMAN_SIZES: dict[str | None, str] = {"big": "groß", "small": "klein"}
_GERMAN_ENDINGS = {  # the article, and the ending of each adjective behind it
    "masculine": {
        "nominative": ("ein", "er"),
        "accusative": ("einen", "en"),
        "dative": ("einem", "en"),
    },
    "neuter": {
        "nominative": ("ein", "es"),
        "accusative": ("ein", "es"),
        "dative": ("einem", "en"),
    },
}
_GERMAN_RELATIONS = {  # all of them want the dative; and how they point back to a thing
    "left of": (("links von",), "links davon"),
    "right of": (("rechts von",), "rechts davon"),
    "above": (("über", "oberhalb von"), "darüber"),
    "below": (("unter", "unterhalb von"), "darunter"),
}


def _german_names(said: Description) -> list[dict[str, str]]:
    noun, gender = _GERMAN_NOUNS[said.shape]
    stems = [_GERMAN_SIZES.get(said.size), _GERMAN_COLOURS.get(said.colour)]
    names = {}
    for case, (article, ending) in _GERMAN_ENDINGS[gender].items():
        adjectives = [stem + ending for stem in stems if stem]
        names[case] = " ".join([article, *adjectives, noun])
    return [names]


def _german_forms() -> list[Form]:
    openings = (
        "es gibt {a.accusative}",
        "das Bild zeigt {a.accusative}",
        "man sieht {a.accusative}",
        "zu sehen ist {a}",
    )
    forms = [Form("{a}"), Form("{a} und {b}"), *map(Form, openings)]
    for relation, (said, back) in _GERMAN_RELATIONS.items():
        for there in said:
            starts: tuple[str, ...] = ("{a}", *openings)
            forms += [
                Form(f"{start} {there} {{b.dative}}", relation) for start in starts
            ]
            forms.append(Form(f"{there} {{b.dative}} ist {{a}}", relation))
        forms.append(Form(f"{{a}} und {back} {{b}}", OPPOSITE[relation]))
    return forms


GERMAN = Grammar("German", _german_names, _german_forms(), spaced=True)
GRAMMARS = {"zh": CHINESE, "de": GERMAN}
