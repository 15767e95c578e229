"""Random short lines of text, mostly of common English words.

Numbers, punctuation and random characters are mixed in, so that every printable ASCII character is frequent enough to
be learned.
"""

from __future__ import annotations

import string

import numpy as np

_COMMON = """
a able about above across act add after again age ago agree air all allow almost alone along already also always am
among an and animal another answer any anyone apple arm around art as ask at away baby back bad bag ball bank base
be bear beat beauty because become bed before begin behind believe bell below best better between big bird black
blood blow blue board boat body bone book both bottom box boy branch bread break bridge bright bring brother brown
build burn busy but buy by cake call camp can car card care carry case catch cause cell center chair chance change
cheese child choose church circle city class clean clear climb clock close cloud coat cold color come common
company complete cook cool copy corn corner cost could count country course cover cow cross crowd cry cut dance
danger dark day dead deal dear deep desk did die differ dinner do doctor dog door double doubt down draw dream
dress drink drive drop dry duck during dust each ear early earth east easy eat edge effect egg eight either else
empty end enemy energy engine enjoy enough enter equal even evening event ever every exact example except excite
exercise expect explain eye face fact fair fall family famous far farm fast father favor fear feed feel feet fell
fence few field fight figure fill final find fine finger finish fire first fish five fix flat floor flow flower fly
follow food foot for force forest forget form forward found four free fresh friend from front fruit full fun game
garden gas gave general gentle get gift girl give glad glass go goat gold gone good got grand grass gray great green
grew ground group grow guess guide had hair half hall hand happen happy hard has hat have he head hear heart heat
heavy help her here high hill him his history hit hold hole home hope horse hot hotel hour house how huge human
hundred hunt hurry hurt i ice idea if important in inch include industry insect inside instant interest into iron
is island it jacket jam jar jazz job join joke journey joy judge juice jump june just keen keep kept key kick kill
kind king kitchen knee knew knife knock know lady lake land language large last late laugh law lay lazy lead leaf
learn least leave left leg lemon length less lesson let letter level lie life lift light like line lion liquid list
listen little live local long look lost lot loud love low luck machine made magic main make man many map mark
market match matter may me mean measure meat meet melody men metal middle might mile milk million mind minute miss
mix modern moment money month moon more morning most mother motion mountain mouse mouth move much music must my
name narrow nation natural near neck need never new next nice night nine no noise noon nor north nose not note
nothing notice now number object ocean of off offer office often oil old on once one only open opposite or orange
order other our out over own oxygen page paint pair paper parent part party pass past path pattern pay peace pen
people perhaps person piano pick picture piece pink place plain plan planet plant play please poem point poor
position possible post power practice prepare present press pretty price print prize problem produce promise proud
prove public pull push put puzzle quality quarter queen question quick quiet quit quite quiz race radio rain raise
ran reach read ready real reason receive red region remember repeat reply rest result rice rich ride right ring
rise river road rock roll roof room root rope rose round row rule run sad safe said sail salt same sand sang save
saw say school science sea season seat second secret see seed seem self sell send sense sent serve seven several
shall shape share sharp she sheep sheet ship shirt shoe shop short should shout show shut side sign silent silver
simple since sing sister sit six size skin sky sleep slow small smell smile smoke smooth snow so soap soft soil
some son song soon sound south space speak special speed spell spend spoke spot spring square stand star start
state station stay steel step stick still stone stop storm story straight strange stream street string strong
student study such sudden sugar summer sun sure surprise sweet swim symbol system table tail take talk tall taste
teach team tell ten test than thank that the their them then there these they thick thin thing think third this
those though thought thousand three through throw thus tie tiger time tiny to today together told tomorrow tone too
took tool top total touch toward town track trade train travel tree triangle trip trouble truck true try tube turn
twelve twenty two type ugly umbrella uncle under unit until up upon us use usual valley value vary very view
village violin visit voice vowel voyage wait walk wall want war warm was wash watch water wave way we wear weather
week weight well went were west wet what wheel when where which while whisper white who whole whose why wide wife
wild will win wind window wing winter wire wise wish with woman wonder wood word work world would write wrong yard
year yellow yes yesterday yet you young your zebra zero zigzag zone zoo
"""
WORDS = tuple(_COMMON.split())
_WORDS = np.array(WORDS)
_MAX_TOKENS = 40
_ENDINGS = (".", ".", "?", "!", ",", ";", ":")
_BRACKETS = ("()", '""', "''", "[]", "{}", "<>")


def sample_line(rng: np.random.Generator, min_length: int = 6, max_length: int = 44) -> str:
    """Return a random line of `min_length` to `max_length` characters, without spaces at its ends."""
    target = int(rng.integers(min_length, max_length + 1))
    text = ""
    for _ in range(_MAX_TOKENS):
        longer = f"{text} {_token(rng)}".strip()
        if len(longer) <= max_length:
            text = longer
        if len(text) >= min_length and rng.random() < (len(text) / target) ** 4:
            break
    missing = max(0, min_length - len(text))
    text += "".join(rng.choice(list(string.ascii_lowercase), missing))
    return text[0].upper() + text[1:] if rng.random() < 0.4 else text


def _token(rng: np.random.Generator) -> str:
    """Return a random token: a word (possibly with capitals or punctuation), a number, or random characters."""
    kind, word = rng.random(), str(rng.choice(_WORDS))
    if kind < 0.58:
        return word
    if kind < 0.66:
        return word.capitalize()
    if kind < 0.78:
        return (word.capitalize() if rng.random() < 0.2 else word) + str(rng.choice(_ENDINGS))
    if kind < 0.82:
        left, right = rng.choice(_BRACKETS)
        return f"{left}{word}{right}"
    if kind < 0.85:
        return (
            word + str(rng.choice(["'s", "'t", "'ll", "-"])) + ("" if rng.random() < 0.7 else str(rng.choice(_WORDS)))
        )
    if kind < 0.88:
        return word.upper()[:6]
    if kind < 0.93:
        return _number(rng)
    characters = list(string.ascii_letters if kind < 0.98 else string.punctuation)
    return "".join(rng.choice(characters, int(rng.integers(1, 7 if kind < 0.98 else 4))))


def _number(rng: np.random.Generator) -> str:
    digits = "".join(rng.choice(list(string.digits), int(rng.integers(1, 5))))
    if rng.random() < 0.6:
        return digits
    return str(
        rng.choice(
            [f"{digits}.{digits[:2]}", f"${digits}", f"{digits}%", f"{digits[:2]}:30", f"1/{digits}", f"#{digits}"]
        )
    )
