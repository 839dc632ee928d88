"""Questions from sentences by rules: take a span out of a sentence, ask for it, keep the rest as it stands.

No tagger and no model: a span is a number, a name or a noun phrase found by its surroundings, and the question is
built by fronting the question word where the verb is known and by leaving it in place where not. A question made
here never says more than its sentence does; that it sometimes sounds odd does less harm than a fluent invention.
"""

from __future__ import annotations

import re

from ragtune_lib.text import MONTHS, STOPWORDS

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
DETERMINERS = "a|an|the|this|that|these|those|my|our|his|her|its|their|your|no|some|another|each|every"
NUMBER_WORDS = (
    "one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen|"
    "eighteen|nineteen|(?:twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety)(?:-\\w+)?|hundred|thousand|dozen"
)
AUXILIARIES = frozenset(
    "is are was were am has have had can could will would shall should may might must does do did".split()  # noqa: SIM905
)
IRREGULAR = dict(
    pair.split(":")
    for pair in """ate:eat began:begin bit:bite blew:blow bought:buy broke:break brought:bring built:build burnt:burn
    came:come caught:catch chose:choose cost:cost cut:cut drank:drink drew:draw drove:drive dug:dig fed:feed fell:fall
    felt:feel flew:fly forgot:forget fought:fight found:find froze:freeze gave:give got:get grew:grow heard:hear
    held:hold hid:hide hit:hit hung:hang hurt:hurt kept:keep knew:know laid:lay learnt:learn led:lead left:leave
    lent:lend let:let lit:light lost:lose made:make meant:mean met:meet paid:pay put:put ran:run rang:ring read:read
    rode:ride rose:rise said:say sang:sing sank:sink sat:sit saw:see sent:send set:set shone:shine shook:shake
    shot:shoot showed:show shut:shut slept:sleep slid:slide smelt:smell sold:sell spent:spend spoke:speak spread:spread
    stole:steal stood:stand stuck:stick swam:swim swept:sweep swore:swear taught:teach threw:throw told:tell took:take
    tore:tear understood:understand went:go wept:weep woke:wake won:win wore:wear wrote:write
    bathed:bathe breathed:breathe completed:complete controlled:control created:create freed:free invited:invite
    owed:owe pasted:paste patrolled:patrol tasted:taste united:unite wasted:waste""".split()  # noqa: SIM905
)
PERSONS = (
    (r"\bI(?: a|['\u2019])m\b", "{} is"),
    (r"\b(?:I|[Ww]e)(?: ha|['\u2019])ve\b", "{} has"),
    (r"\b[Ww]e(?: are| were|['\u2019]re)\b", "{} was"),
    (r"\b(?:I|[Ww]e)['\u2019]ll\b", "{} will"),
    (r"\b(?:myself|ourselves)\b", "{}"),
    (r"\b(?:[Mm]y|[Oo]ur)\b", "{}'s"),
    (r"\b(?:mine|ours)\b", "{}'s"),
    (r"\b(?:I|[Ww]e|me|us)\b", "{}"),
)


# where a new main clause starts: what stands before it would only make the question longer
CLAUSE = re.compile(
    r"[;:] |, (?:and|but|so|while) (?=(?:I|we|[A-Z][\w'-]+|my \w+|our \w+|the \w+) )| (?:and|but) (?=(?:I|we) )"
)
SINGULAR = {"have": "has", "are": "is", "were": "was", "am": "is"}


def third_person(text: str, narrator: str) -> str:
    """Put the writer of a first-person text into the third person.

    >>> third_person("I gave my sister our van.", "the narrator")
    "the narrator gave the narrator's sister the narrator's van."
    """
    for pattern, form in PERSONS:
        text = re.sub(pattern, form.format(narrator), text)
    return text


def base_form(verb: str) -> str:
    """Infinitive of a past-tense verb, "" if the word does not look like one.

    >>> [base_form(word) for word in ("carried", "stopped", "baked", "wept", "allotment")]
    ['carry', 'stop', 'bake', 'weep', '']
    """
    if verb in IRREGULAR:
        return IRREGULAR[verb]
    if not re.fullmatch(r"[a-z]*[aeiouy][a-z]*ed", verb) or re.fullmatch(r"[a-z]{1,2}eed|indeed|hundred", verb):
        return ""
    stem = verb[:-2]
    if stem.endswith("i"):
        return stem[:-1] + "y" if len(stem) > 2 else stem + "e"
    if re.search(r"[aeiou][^aeiou]+ell$", stem):  # travelled, not spelled
        return stem[:-1]
    if len(stem) > 3 and stem[-1] == stem[-2] and stem[-1] not in "flsz":
        return stem[:-1]
    silent = re.search(
        r"(?:[^aeiou][aiou][kmrptzvgd]|[aeiou]v|[^l]l[vg]|[aeiou]{2}[sc]|[iu]s|ic|u|n[cgs]|r[gcsv]|[^aeiou]l|[aeou]u?[cgsz]|u[et]|[ai]d|e|yp|iz|dg|uot|[hp]on|[^aeiou](?:[aiou]l|[iu]n))$",
        stem,
    )
    plain = re.search(
        r"(?:ck|ss|x|w|y|sh|ch|lp|en|er|it|et|ain|all|ell|ill|oll|ull|wl|out|ead|oad|aid|old|and|end|ound)$", stem
    )
    return stem + "e" if silent and not plain else stem


def spans(sentence: str, names: list[str]) -> list[tuple[int, int, str]]:
    """Spans of a sentence that a question can ask for: start, end and question word, in text order.

    Args:
        sentence: one sentence.
        names: names that occur in it (entities of the graph).
    """
    found: dict[tuple[int, int], str] = {}
    taken = [False] * len(sentence)

    def add(start: int, end: int, word: str) -> None:
        if not any(taken[start:end]):
            found[start, end] = word
            taken[start:end] = [True] * (end - start)

    for match in re.finditer(rf"\b(\d[\d.,:]*\d|\d|{NUMBER_WORDS})\b(?= (\w+))?", sentence, re.IGNORECASE):
        noun = match.group(2)
        if noun and noun.islower() and noun not in STOPWORDS:  # "14 Mill Lane" counts no mills
            add(match.start(), match.end() + 1 + len(noun), f"how many {noun}")
        elif noun in MONTHS:
            add(match.start(), match.end() + 1 + len(noun), "when")
    for match in re.finditer(
        rf"\b(?:last |next )?(?:{'|'.join(DAYS + MONTHS)})(?: (?:night|morning|evening))?\b", sentence
    ):
        add(match.start(), match.end(), "when")
    for match in re.finditer(r"\bbecause ([^.;]+)", sentence):
        add(match.start(), match.end(), "why")
    for name in sorted(names, key=len, reverse=True):
        for match in re.finditer(rf"\b{re.escape(name)}\b(?!['\u2019]s)", sentence):
            place = re.search(r"\b(?:in|at|near|from|to|through|into) (?:the )?$", sentence[: match.start()])
            add(
                match.start(),
                match.end(),
                "where" if place and name[0].isupper() else "who" if name[0].isupper() else "what",
            )
    ends = "and|or|of|in|on|at|to|for|from|with|by|who|which|that|is|was|had|has|under|over|into"
    phrase = rf"\b(?:{DETERMINERS}) ((?:[\w-]+ ){{0,2}}?[\w-]+)(?=[,.;:!?]| (?:{ends})\b)"
    for match in re.finditer(phrase, sentence):
        if match.group(1).split()[-1].lower() not in STOPWORDS:
            add(match.start(), match.end(), "what")
    for match in re.finditer(
        r"\b(?:with|of|for|by|wearing|carrying|called|in) ((?:[a-z-]+ )?[a-z-]{3,})(?=[,.;])", sentence
    ):
        if not set(match.group(1).split()) & STOPWORDS:
            add(match.start(1), match.end(1), "what")
    return [(start, end, found[start, end]) for start, end in sorted(found)]


def ask(sentence: str, start: int, end: int, word: str, narrator: str) -> str:
    """Ask for one span of a sentence.

    Args:
        sentence: the source sentence.
        start: first character of the span asked for.
        end: one past its last character.
        word: question word, for example "who" or "how many pounds".
        narrator: how the question calls a first-person writer.

    Returns:
        A question; the question word is fronted when the verb can be told, else it stands in the span's place.

    >>> text = "Noor carried a tray of plums to the shed on Friday."
    >>> ask(text, 13, 28, "what", "the narrator")
    'What did Noor carry to the shed on Friday?'
    >>> ask(text, 0, 4, "who", "the narrator")
    'Who carried a tray of plums to the shed on Friday?'
    """
    before, after = sentence[:start], sentence[end:]
    if before.strip():
        after = re.split(r"[,;:](?!\d)| (?:and|but|so|which|who) (?=\w+ )", after, maxsplit=1)[0]
    after = after.rstrip(" .!?\"\u201d'")
    before = CLAUSE.split(before)[-1]
    if not before.strip():
        return _finish(f"{word} {after.strip()}", narrator)
    fronted = _front(before, after, word)
    if fronted:
        return _finish(fronted, narrator)
    if word == "why":
        return _finish(f"why is it that {_lower_first(before.strip())}", narrator)
    return _finish(f"{_lower_first(before)}{word}{after}", narrator)


def _front(before: str, after: str, word: str) -> str:
    """Question word first, then the verb, when subject and verb open the sentence; else ""."""
    match = re.match(
        r"((?:The|My|Our) [a-z]+|[A-Z][\w'-]*(?: [A-Z][\w'-]*)*) ((?:[a-z]+ly )?)([a-z]+)\b(.*)", before, re.DOTALL
    )
    if not match or "," in match.group(4):
        return ""
    subject, adverb, verb, rest = match.groups()
    if re.search(r"'(?:d|ll|m|re|s|ve)$", subject):  # the verb is in the subject: "We've lost"
        return ""
    subject = _lower_first(subject)
    if subject.split()[0].lower() in STOPWORDS - {"i", "we", "the", "my", "our"}:
        return ""
    tail = f"{rest.rstrip()}{after}".rstrip()
    if word == "where":
        tail = re.sub(r" (?:in|at|to|into|near|through)(?: the)?$", "", rest.rstrip()) + after
    if word == "when":
        tail = re.sub(r" on$| in$", "", rest.rstrip()) + after
    if verb in AUXILIARIES:
        verb = SINGULAR.get(verb, verb) if subject in ("I", "We", "we") else verb
        return f"{word} {verb} {subject}{' ' + adverb.strip() if adverb else ''}{tail}"
    base = base_form(verb)
    return f"{word} did {subject} {adverb}{base}{tail}" if base else ""


def _lower_first(text: str) -> str:
    """Lower the first letter unless the word is a name or "I"."""
    word = text.split(" ", 1)[0]
    return text[0].lower() + text[1:] if word.lower() in STOPWORDS and word != "I" else text


def _finish(question: str, narrator: str) -> str:
    text = third_person(re.sub(r"\s+", " ", question).strip(" ,;:"), narrator)
    return text[0].upper() + text[1:] + "?"
