"""What ``real_shared_space.py`` asks about the 42 photographs of ``mmbook.samples``.

Which photographs show something that can be named in a word or two (25 classes), the
templates of the prompts, and pairs of sentences with the same words, of which one is
true of a photograph. All of it was written for this book from looking at the pictures.
"""

CLASSES = {
    "a pizza": (6, 10, 27),
    "a bowl of noodles": (3,),
    "broccoli": (0,),
    "a sandwich": (19,),
    "a laptop": (2, 36, 39),
    "horses": (1, 20),
    "a bear": (22,),
    "a cat": (16, 26),
    "a dog": (28,),
    "a bird": (8,),
    "a bicycle": (4,),
    "a motorcycle": (11,),
    "a tennis player": (12,),
    "a skateboard": (32,),
    "a frisbee": (33,),
    "a bus": (24, 31, 41),
    "an airplane": (7, 17),
    "a stop sign": (34, 37),
    "a street sign": (23,),
    "a kitchen": (14, 30),
    "a bathroom": (40,),
    "a bed": (29,),
    "a clock": (38,),
    "suitcases": (35,),
    "a bench": (21,),
}
TEMPLATES = {
    "the name": "{}",
    "a photo of …": "a photo of {}",
    "a close-up of …": "a close-up of {}",
    "there is … in the picture": "there is {} in the picture",
    "a person looks at …": "a person looks at {}",
    "a bad drawing of …": "a bad drawing of {}",
}

# (photograph, true, false): the same words, but colours have changed places
COLOURS_SWAPPED = [
    (39, "a red laptop on a wooden table", "a wooden laptop on a red table"),
    (34, "a red sign in front of a blue truck", "a blue sign in front of a red truck"),
    (24, "a green bus on a grey street", "a grey bus on a green street"),
    (41, "a red bus between green trees", "a green bus between red trees"),
    (14, "a white stove and wooden cupboards", "a wooden stove and white cupboards"),
    (12, "a player in blue on a red court", "a player in red on a blue court"),
    (4, "a blue sign and a red light", "a red sign and a blue light"),
    (31, "two red buses and a yellow taxi", "two yellow buses and a red taxi"),
    (16, "a white cat and a green bird", "a green cat and a white bird"),
    (
        30,
        "a yellow kitchen with white cupboards",
        "a white kitchen with yellow cupboards",
    ),
    (38, "white letters on a dark wall", "dark letters on a white wall"),
    (1, "brown horses on green grass", "green horses on brown grass"),
]
# the same, but the objects have changed places
OBJECTS_SWAPPED = [
    (28, "a dog is tied to a fire hydrant", "a fire hydrant is tied to a dog"),
    (20, "two people ride two horses", "two horses ride two people"),
    (22, "one bear and five birds", "five bears and one bird"),
    (26, "a cat stands on a toilet", "a toilet stands on a cat"),
    (8, "a bird flies above the beach", "the beach flies above a bird"),
    (32, "a man stands on a skateboard", "a skateboard stands on a man"),
    (11, "a man rides a motorcycle", "a motorcycle rides a man"),
    (33, "a man throws a frisbee near a dog", "a dog throws a frisbee near a man"),
    (36, "a laptop on a desk", "a desk on a laptop"),
    (29, "a book on a bed", "a bed on a book"),
    (27, "two pizzas on top of a stove", "a stove on top of two pizzas"),
    (3, "a fork in a bowl of noodles", "a bowl of noodles in a fork"),
]
