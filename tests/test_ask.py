import pytest

from ragtune_lib.ask import IRREGULAR, ask, base_form, spans, third_person
from ragtune_lib.text import names, normalize, sentences, words

NARRATOR = "the keeper"
SENTENCES = (
    "Noor carried a tray of plums to the shed on Friday.",
    "I gave my sister the green van because the ferry was late.",
    "At the fair Ilse Brandt sold 14 jars of plum jam.",
    "We have three hens in the yard, and Tomas feeds them.",
    "Tomas had never seen the harbour of Port Ellery.",
    "Dr. Weiss told me to rest for two weeks.",
    "The boat sank near the old pier at 9:30.",
    "My brother went from Lisbon to Porto in April.",
    "It rained; Noor stayed at home with a book.",
    "I'm learning the accordion with Benno.",
    "I\u2019m sure we\u2019ll see Benno\u2019s boat at the pier.",
    "The bakery on Mill Street closed in March.",
    "Anna quickly fixed the roof of the shed.",
    "On Monday Tomas painted the door.",
    "They found 1,200 euros under a floorboard.",
    '"No sugar," Tomas said, "is no jam."',
    "Benno will bring the lantern and Ilse the ropes.",
    "We've lost the key to the cellar.",
    "Noor's dog bit the postman.",
    "Marta started a course called woodturning.",
    "In June my mother came to Hamburg by train.",
    "The twenty-one apple trees were planted by our grandfather.",
    "Lea paid 30 euros for the ticket, but the train never came.",
    "Although it was cold, we swam in the lake.",
    "Zoltan lives at 14 Mill Lane, below us, with an old boiler.",
    "I kept a jar for myself.",
    "On 4 May, the dog ate each of the pies, all 3 of them!",
    "Neither of us (nor the cat) wanted the fish.",
)
ADDED = {"who", "what", "when", "where", "why", "how", "many", "did", "has", "is", "was", "will", "it", "that"}


def asked(sentence, *extra):
    """All spans of a sentence and the questions for them."""
    found = spans(sentence, sorted({*names(sentence), *extra}))
    return [(sentence[start:end], word, ask(sentence, start, end, word, NARRATOR)) for start, end, word in found]


def question(sentence, span, word):
    start = sentence.index(span)
    return ask(sentence, start, start + len(span), word, NARRATOR)


@pytest.mark.parametrize("sentence", SENTENCES)
def test_a_question_says_nothing_that_its_sentence_does_not(sentence):
    assert sentences(sentence) == [sentence]
    known = set(normalize(sentence).split()) | set(words(sentence))
    known |= {base_form(word) for word in known} | ADDED | {"the", "keeper", "keepers"}
    for _, _, made in asked(sentence):
        assert set(normalize(made).split()) <= known, made


def test_a_question_gives_its_answer_not_away():
    checked = 0
    for sentence in SENTENCES:
        padded = f" {normalize(sentence)} "
        for span, _, made in asked(sentence):
            if padded.count(f" {normalize(span)} ") == 1:
                checked += 1
                assert f" {normalize(span)} " not in f" {normalize(made)} ", made
    assert checked > 40


@pytest.mark.parametrize("sentence", SENTENCES)
def test_a_question_looks_like_one(sentence):
    for _, word, made in asked(sentence):
        assert made.endswith("?") and made.count("?") == 1
        assert made[0] == made[0].upper()
        assert word.split()[0] in words(made), made
        assert not set(words(made)) & {"i", "me", "my", "we", "us", "our", "myself"}, made
        assert "\u2019ll" not in made and "'ve" not in made, made


@pytest.mark.parametrize(
    ("sentence", "span", "word", "expected"),
    [
        (SENTENCES[0], "a tray of plums", "what", "What did Noor carry to the shed on Friday?"),
        (SENTENCES[0], "Friday", "when", "When did Noor carry a tray of plums to the shed?"),
        (SENTENCES[0], "Noor", "who", "Who carried a tray of plums to the shed on Friday?"),
        (SENTENCES[1], "the green van", "what", "What did the keeper give the keeper's sister because the ferry was late?"),
        (SENTENCES[1], "because the ferry was late", "why", "Why did the keeper give the keeper's sister the green van?"),
        (SENTENCES[4], "Port Ellery", "what", "What had Tomas never seen the harbour of?"),
        (SENTENCES[12], "the roof", "what", "What did Anna quickly fix of the shed?"),
        (SENTENCES[16], "the lantern", "what", "What will Benno bring?"),
        ("The twins ate the pie in Bath.", "Bath", "where", "Where did the twins eat the pie?"),
        (SENTENCES[6], "the old pier", "what", "What did the boat sink near at 9:30?"),  # the time stays whole
        (SENTENCES[7], "April", "when", "When did the keeper's brother go from Lisbon to Porto?"),
        ("We have three hens.", "three hens", "how many hens", "How many hens has the keeper?"),
        ("Ilse is in the shed, as ever.", "the shed", "where", "Where is Ilse?"),
    ],
)  # fmt: skip
def test_the_question_word_comes_first_where_the_verb_is_known(sentence, span, word, expected):
    assert question(sentence, span, word) == expected


@pytest.mark.parametrize(
    ("sentence", "span", "word", "expected"),
    [
        ("Then it sank by the pier at 9:30, or 1,200 m off.", "the pier", "what", "Then it sank by what at 9:30?"),
        (SENTENCES[17], "the key", "what", "The keeper has lost what to the cellar?"),
        ("Today I've found it in Bath.", "Bath", "where", "Today the keeper has found it in where?"),
        (SENTENCES[18], "the postman", "what", "Noor's dog bit what?"),
        ("The cat, as ever, ate the fish.", "the fish", "what", "The cat, as ever, ate what?"),
        ("Later it rained because of you.", "because of you", "why", "Why is it that later it rained?"),
    ],
)
def test_the_question_word_stays_in_place_where_not(sentence, span, word, expected):
    assert question(sentence, span, word) == expected


def test_the_clause_before_and_the_clause_after_are_left_out():
    sentence = "It rained all day, but Noor fed the hens with corn, and I slept."
    assert question(sentence, "the hens", "what") == "What did Noor feed with corn?"


@pytest.mark.parametrize(
    ("sentence", "extra", "expected"),
    [
        (SENTENCES[2], ["Ilse Brandt"], [("Ilse Brandt", "who"), ("14 jars", "how many jars"), ("plum jam", "what")]),
        (SENTENCES[7], [], [("Lisbon", "where"), ("Porto", "where"), ("April", "when")]),
        (SENTENCES[14], [], [("1,200 euros", "how many euros"), ("a floorboard", "what")]),
        (SENTENCES[24], ["Mill Lane"], [("Mill Lane", "who"), ("an old boiler", "what")]),  # no lane is counted
        ("She came on 4 May for the fair.", [], [("4 May", "when"), ("the fair", "what")]),
        ("The noor sang with Noor's dog.", ["Noor"], []),  # another word, and a possessive
        ("It is a.", [], []),
        ("", [], []),
    ],
)  # fmt: skip
def test_spans_are_numbers_dates_names_and_noun_phrases(sentence, extra, expected):
    assert [(span, word) for span, word, _ in asked(sentence, *extra)] == expected


@pytest.mark.parametrize("sentence", SENTENCES)
def test_spans_are_in_order_and_do_not_overlap(sentence):
    found = spans(sentence, sorted(names(sentence)))
    ends = [0, *(end for _, end, _ in found)]
    assert all(end <= start < stop for end, (start, stop, _) in zip(ends, found, strict=False))


def test_a_name_with_signs_of_a_pattern_is_only_text():
    assert spans("We met Dr (x) and saw A.B. in town.", ["Dr (x)", "A.B.", "(", "x+"]) == spans(
        "We met Dr (x) and saw A.B. in town.", ["A.B.", "Dr (x)"]
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I gave my sister our van.", "the keeper gave the keeper's sister the keeper's van."),
        ("I am glad and I'm late; I\u2019m here.", "the keeper is glad and the keeper is late; the keeper is here."),
        ("We\u2019ve met, I have won, we've lost.", "the keeper has met, the keeper has won, the keeper has lost."),
        ("We are in; we\u2019re out, we were up.", "the keeper was in; the keeper was out, the keeper was up."),
        ("I\u2019ll come and we'll see.", "the keeper will come and the keeper will see."),
        ("It is mine, not ours.", "It is the keeper's, not the keeper's."),
        ("Tell us of me, by myself.", "Tell the keeper of the keeper, by the keeper."),
        ("Iris and the muse used a sour myth in the US.", "Iris and the muse used a sour myth in the US."),
    ],
)
def test_the_writer_of_a_text_becomes_the_narrator(text, expected):
    assert third_person(text, NARRATOR) == expected


REGULAR = """add answer argue arrange arrive ask bake beg believe bolt borrow breathe bury cancel carry celebrate change
    chop clean close complete cook cover crawl create cry dance decide declare die divide drag drop end enter escape
    explain fail fill fine fit fix fold follow gather glue grab grade guide handle headline hire hope hug hum ignore
    invite join judge kiss knit knock label land launch lean lift like live lock love manage marry measure mend merge
    miss move name need nod note notice offer open order organise owe own pack paint pass phone pick place plan plant
    play please post pour promise prove pull queue rain raise reach refuse release remember repair rescue rest rob roll
    rule sail save scale seize serve settle share shout sigh slip smile smoke sneeze solve sound spell squeeze stare
    start stay stop store study stuff suffer taste test tie tip touch trade travel try tune turn type use vary view
    visit vote wait walk want wash waste watch wave weigh whistle wipe wonder work worry wrap""".split()  # noqa: SIM905
DOUBLED = {"beg", "cancel", "chop", "drag", "drop", "fit", "grab", "hug", "hum", "knit", "label", "nod", "plan", "rob"}
DOUBLED |= {"slip", "stop", "tip", "travel", "wrap"}


def past(verb):
    """The regular past tense, as a grammar book has it."""
    if verb in DOUBLED:
        return f"{verb}{verb[-1]}ed"
    if verb.endswith("y") and verb[-2] not in "aeiou":
        return f"{verb[:-1]}ied"
    return f"{verb}d" if verb.endswith("e") else f"{verb}ed"


@pytest.mark.parametrize("verb", REGULAR)
def test_the_base_form_of_a_regular_verb_is_found(verb):
    assert base_form(past(verb)) == verb


@pytest.mark.parametrize(
    ("verb", "expected"), [("went", "go"), ("saw", "see"), ("put", "put"), ("sold", "sell"), ("wept", "weep")]
)
def test_the_base_form_of_an_irregular_verb_is_found(verb, expected):
    assert base_form(verb) == expected


@pytest.mark.parametrize(
    "word", ["shed", "seed", "need", "weed", "bed", "red", "sled", "hundred", "indeed", "speed", "allotment", "the", ""]
)
def test_a_word_that_is_no_past_tense_has_no_base_form(word):
    assert base_form(word) == ""


def test_the_table_of_irregular_verbs_holds_lower_case_words():
    assert all(word.isalpha() and word.islower() for pair in IRREGULAR.items() for word in pair)
