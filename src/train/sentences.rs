//! Things to say: sentences put together from a small vocabulary, and words that no language has, so that every sound
//! follows every other.

use crate::random::Random;

const OPENINGS: &[&str] = &[
    "In the morning",
    "Late last night",
    "After the storm",
    "Between two trains",
    "Once upon a time",
    "On the other hand",
    "Without a doubt",
    "As far as I know",
    "Before you leave",
    "Every now and then",
    "By the river",
    "Just this once",
];
const WHO: &[&str] = &[
    "the old harbour master",
    "my youngest sister",
    "a careful engineer",
    "the orchestra",
    "nobody",
    "her neighbour",
    "the village baker",
    "a flock of geese",
    "the judge",
    "your uncle Joe",
    "the weather station",
    "a young physicist",
    "the whole class",
    "their guide",
    "the quiet boy",
    "a large yellow dog",
    "the night train",
    "George",
    "this machine",
    "the church choir",
    "a thousand voices",
    "the doctor",
    "Susan",
    "the fisherman",
    "each of the four pilots",
];
const DOES: &[&str] = &[
    "measured",
    "forgot",
    "painted",
    "carried",
    "repaired",
    "watched",
    "could not find",
    "should have asked for",
    "gave away",
    "brought back",
    "laughed about",
    "whispered to",
    "shook",
    "threw away",
    "has chosen",
    "would like",
    "described",
    "is waiting for",
    "listened to",
    "jumped over",
    "pushed",
    "thanked",
    "believes in",
    "served",
    "judged",
];
const WHAT: &[&str] = &[
    "a basket of fresh oranges",
    "the broken radio",
    "seven wooden chairs",
    "the thick blue book",
    "an early answer",
    "the shape of the waves",
    "five hundred pages",
    "a cup of strong tea",
    "the measure of things",
    "both of the keys",
    "a pair of leather shoes",
    "every single picture",
    "the zoo",
    "some cheese and a loaf of bread",
    "the treasure",
    "a very good question",
    "the view from the bridge",
    "three small fishing boats",
    "an umbrella",
    "the youth club",
    "its own reflection",
    "the usual hot soup",
    "a vision of the future",
    "eighty six steps",
    "the noise outside",
];
const HOW: &[&str] = &[
    "with great pleasure",
    "in spite of the cold",
    "as fast as possible",
    "under a cloudy sky",
    "for no reason at all",
    "at a quarter past eight",
    "without saying a word",
    "near the edge of the forest",
    "until the lights went out",
    "because of the children",
    "through the open window",
    "while it rained",
    "again and again",
    "on a Thursday in June",
    "where the road turns north",
    "just as we had hoped",
    "to everyone's surprise",
    "before the shop closed",
];
const SHORT: &[&str] = &[
    "Yes, of course.",
    "No.",
    "Why not?",
    "Thank you very much.",
    "Wait!",
    "What did you say?",
    "Look over there.",
    "Hm.",
    "Good morning, everybody.",
    "Oh, really?",
    "I see.",
    "Please call me back.",
    "Who is there?",
    "Nine, eight, seven.",
];
const ONSETS: &[&str] = &[
    "b", "d", "f", "g", "h", "k", "l", "m", "n", "p", "r", "s", "t", "v", "z", "sh", "ch", "th", "st", "tr", "pl",
    "br", "", "sp", "kl", "gr", "fl", "sk", "y", "w", "j",
];
const VOWELS: &[&str] = &["a", "e", "i", "o", "u", "ai", "ee", "oo", "ou", "oi", "ay", "ow"];
const ENDINGS: &[&str] = &["", "", "", "n", "s", "t", "m", "l", "r", "k", "sh", "nd", "p", "ng", "x"];

/// One utterance, of a second to some eight.
pub(crate) fn sentence(random: &mut Random) -> String {
    match random.below(10) {
        0 => (*random.choose(SHORT)).to_owned(),
        1 | 2 => nonsense(random),
        3 => format!("{} {}, {}?", random.choose(WHO), random.choose(DOES), random.choose(WHAT)),
        4 | 5 => format!("{}, {}", random.choose(OPENINGS), clause(random)),
        6 => format!("{} And {}", clause(random), clause(random)),
        _ => clause(random),
    }
}

fn clause(random: &mut Random) -> String {
    format!("{} {} {} {}.", random.choose(WHO), random.choose(DOES), random.choose(WHAT), random.choose(HOW))
}

fn nonsense(random: &mut Random) -> String {
    let words = 3 + random.below(9);
    let words: Vec<String> = (0..words).map(|_| word(random)).collect();
    format!("{}.", words.join(if random.chance(0.2) { ", " } else { " " }))
}

fn word(random: &mut Random) -> String {
    let syllables = 1 + random.below(3);
    (0..syllables)
        .map(|_| format!("{}{}{}", random.choose(ONSETS), random.choose(VOWELS), random.choose(ENDINGS)))
        .collect()
}
