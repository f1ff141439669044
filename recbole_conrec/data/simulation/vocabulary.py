"""The words of the simulated shop. Each group of words is one kind of attribute; an item has one word of each group."""

CATEGORIES = {
    "lamp": ("desk lamp", "lantern", "floor lamp", "reading light"),
    "chair": ("armchair", "stool", "rocking chair", "folding chair"),
    "kettle": ("kettle", "teapot", "water boiler"),
    "bag": ("backpack", "handbag", "shoulder bag", "suitcase"),
    "jacket": ("jacket", "raincoat", "parka", "windbreaker"),
    "audio": ("headphones", "speaker", "radio", "earbuds"),
    "shoes": ("sneakers", "boots", "sandals", "loafers"),
    "toy": ("puzzle", "doll", "toy train", "building blocks"),
    "phone": ("phone", "phone case", "phone stand"),
    "watch": ("wristwatch", "alarm clock", "wall clock"),
    "garden": ("flower pot", "watering can", "garden bench"),
    "kitchen": ("frying pan", "salad bowl", "knife block", "cutting board"),
}
MATERIALS = ("oak", "steel", "plastic", "leather", "cotton", "glass", "bamboo", "ceramic")
STYLES = ("vintage", "modern", "floral", "minimal", "sporty", "gothic", "rustic", "cartoon")
COLOURS = ("black", "white", "red", "green", "blue", "pink", "gold", "grey")
BRANDS = (
    "Norvik",
    "Talero",
    "Quendo",
    "Amberly",
    "Fostrel",
    "Miravo",
    "Pellan",
    "Zunari",
    "Corbeth",
    "Iskander",
    "Lumora",
    "Vastine",
    "Okemi",
    "Drayton",
    "Halvor",
    "Seluna",
)

GROUPS = {"category": tuple(CATEGORIES), "material": MATERIALS, "style": STYLES, "colour": COLOURS, "brand": BRANDS}

# Every template has all five attributes; {noun} is one of the category's nouns.
TEMPLATES = (
    "{brand} {style} {colour} {material} {noun}",
    "{style} {noun} in {colour} {material} by {brand}",
    "{brand} {noun}, {material}, {colour}, {style} design",
    "{colour} {material} {noun} {style} {brand}",
)
EXTRAS = (
    "",
    "",
    "",
    "new season",
    "gift idea",
    "set of two",
    "free delivery",
    "limited offer",
    "for home",
    "for travel",
)
