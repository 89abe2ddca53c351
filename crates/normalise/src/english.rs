//! How much a run of letters reads like language.
//!
//! One table, log-odds of English letter pairs against chance, in sixteenths of a bit; column and row 0 stand for
//! anything that is not a letter. It was counted over harmless English training text. English prose averages 24 a pair,
//! other European languages 12 to 20 (Polish 0), random letters -25; ciphers and encodings are told by it.

/// Row: the first of two neighbours; column: the second.
const PAIRS: [[i8; 27]; 27] = [
    [0, 24, 0, 13, 4, -5, 6, -18, -3, 16, -42, -38, -7, 2, -4, 6, 8, -47, -1, 17, 30, -16, -33, 3, -67, -20, -75],
    [
        22, -84, -10, 6, -3, -85, -39, -7, -71, -1, -96, -29, 19, 7, 33, -112, -10, -102, 23, 17, 32, -19, -17, -48,
        -59, -3, -81,
    ],
    [
        16, 26, -42, -54, -69, 43, -80, -66, -51, 6, -6, -99, 25, -53, -71, 29, -72, -102, 9, -7, -59, 18, -81, -76,
        -100, 8, -81,
    ],
    [
        8, 25, -68, -16, -79, 29, -81, -95, 27, 7, -116, 6, 9, -70, -90, 37, -64, -116, 11, -34, 25, -3, -100, -116,
        -126, -29, -116,
    ],
    [
        57, 11, -58, -67, -16, 38, -68, -36, -75, 19, -84, -93, -32, -62, -65, 11, -65, -115, -9, -5, -59, -11, -52,
        -76, -100, -21, -126,
    ],
    [
        51, 4, -60, -3, 8, -13, -21, -35, -78, -41, -104, -61, -2, -8, 19, -54, -26, -40, 27, 22, 1, -67, -21, -27,
        -12, -38, -97,
    ],
    [
        43, 13, -87, -77, -88, 16, 0, -68, -120, 33, -110, -68, -3, -67, -32, 40, -86, -119, 19, -54, -3, 1, -106, -70,
        -110, -45, -116,
    ],
    [
        50, 9, -49, -68, -61, 39, -66, -27, 13, 18, -106, -98, -15, -52, -3, 7, -36, -113, 9, -13, -32, -1, -64, -75,
        -105, -31, -76,
    ],
    [
        28, 30, -69, -90, -77, 57, -97, -114, -87, 23, -113, -122, -53, -47, -46, 22, -82, -111, -11, -63, 3, -24, -96,
        -94, -98, -41, -107,
    ],
    [
        2, -7, -31, 15, 5, 0, -8, -3, -94, -96, -105, -41, 8, -6, 43, 19, -12, -69, -7, 21, 25, -70, -8, -126, -55,
        -85, -32,
    ],
    [
        4, 30, -45, -67, -53, 48, -19, -96, -55, 12, -72, -69, -40, -69, -57, 30, -34, -79, -52, 23, -80, 32, -48, -36,
        -94, -56, -53,
    ],
    [
        52, -7, -64, -65, -43, 46, -36, -36, -43, 27, -107, -82, -15, -56, 2, -26, -52, -105, -48, 19, -51, -37, -110,
        -59, -88, -43, -73,
    ],
    [
        36, 26, -41, -45, 3, 38, -17, -70, -94, 27, -115, -53, 21, -42, -75, 18, -33, -126, -71, -5, -3, -8, -50, -70,
        -124, 3, -109,
    ],
    [
        36, 35, -4, -57, -59, 45, -81, -78, -123, 9, -101, -112, -19, -4, -59, 17, 20, -111, -68, -14, -65, -7, -88,
        -93, -121, -4, -109,
    ],
    [
        44, 9, -81, 5, 25, 18, -24, 25, -84, -6, -62, -36, -40, -63, -33, 5, -44, -101, -78, 13, 28, -21, -33, -78,
        -115, -28, -98,
    ],
    [
        24, -34, -34, -16, -4, -41, 7, -30, -73, -29, -65, -28, 3, 11, 38, -6, -3, -126, 32, -11, -1, 26, -15, -1, -60,
        -68, -102,
    ],
    [
        21, 30, -64, -71, -39, 31, -83, -70, -14, 0, -126, -89, 29, -57, -75, 20, 1, -126, 31, -11, 16, 3, -102, -74,
        -75, -16, -113,
    ],
    [
        23, -52, -58, -75, -56, -70, -71, -36, -76, -55, -91, -96, -6, -82, -59, -91, -89, -74, -35, -68, -54, 71, -50,
        -61, -104, -76, -88,
    ],
    [
        39, 17, -58, -15, -4, 41, -57, -29, -90, 24, -126, -23, -33, -13, -17, 20, -56, -113, -14, 6, 2, -12, -30, -64,
        -126, -6, -84,
    ],
    [
        53, -8, -74, -5, -62, 28, -59, -95, -3, 10, -126, -25, -48, -42, -59, 1, -8, -74, -55, 9, 33, -2, -69, -29,
        -115, -35, -122,
    ],
    [
        44, 8, -85, -45, -55, 27, -83, -80, 40, 24, -126, -111, -36, -45, -81, 19, -39, -126, 5, -6, -15, -16, -104,
        -40, -78, -8, -116,
    ],
    [
        16, -11, -1, 4, -12, 12, -52, -15, -104, -1, -126, -80, 21, 8, 24, -65, -4, -126, 31, 30, 26, -76, -59, -126,
        -82, -67, -76,
    ],
    [
        10, 31, -60, -62, -68, 60, -67, -51, -87, 40, -102, -96, -73, -89, -87, 0, -75, -90, -72, -52, -73, -56, -96,
        -105, -54, -51, -66,
    ],
    [
        35, 28, -45, -76, -60, 30, -77, -91, 32, 34, -102, -83, -41, -95, -5, 27, -98, -106, 10, -15, -68, -95, -87,
        -49, -84, -84, -107,
    ],
    [
        46, 33, -69, -4, -58, 10, -47, -79, -42, 5, -51, -73, -45, -46, -59, -52, 35, -71, -46, -59, 38, -32, -51, -86,
        -49, -34, -71,
    ],
    [
        63, -23, -42, -49, -56, -6, -84, -81, -89, -34, -113, -107, -28, -11, -24, 34, 14, -107, -53, 5, -8, -71, -86,
        -52, -71, -42, -70,
    ],
    [
        25, 23, -41, -26, -38, 55, -70, -37, -33, 28, -72, -75, -16, -26, -32, 3, -50, -72, -33, -17, -65, -29, -51,
        -14, -22, -18, -5,
    ],
];

/// 1 to 26 for a letter of either case, 0 for anything else.
pub(crate) const LETTER: [u8; 256] = {
    let mut table = [0; 256];
    let mut letter = 0;
    while letter < 26 {
        table[b'a' as usize + letter] = letter as u8 + 1;
        table[b'A' as usize + letter] = letter as u8 + 1;
        letter += 1;
    }
    table
};

/// How well the second follows the first.
pub(crate) const fn pair(first: u8, second: u8) -> i32 {
    PAIRS[first as usize][second as usize] as i32
}

/// The letter thirteen places on.
pub(crate) const fn turned(letter: u8) -> u8 {
    match letter {
        0 => 0,
        1..=13 => letter + 13,
        _ => letter - 13,
    }
}

/// The sum over all pairs with a letter in them, and their number.
pub(crate) fn score(letters: impl Iterator<Item = u8>) -> (i32, i32) {
    let (mut sum, mut pairs, mut last) = (0i32, 0i32, 0u8);
    for letter in letters.chain([0]) {
        if last | letter != 0 {
            sum = sum.saturating_add(pair(last, letter));
            pairs += 1;
        }
        last = letter;
    }
    (sum, pairs)
}

/// The least average of [`score`] for a text that an encoding gave away: far above chance, below every language tried.
const PLAUSIBLE: i32 = -4;

/// Whether decoded bytes are text that somebody wrote. That they are valid UTF-8 without controls already rules out
/// hashes, ids and image data but for a chance of about (3/8)^n; letters must be most of it, and not at random.
pub(crate) fn plausible(text: &str) -> bool {
    let (mut chars, mut latin, mut other, mut wordlike) = (0u32, 0u32, 0u32, 0u32);
    for symbol in text.chars() {
        if symbol.is_control() && !matches!(symbol, '\n' | '\r' | '\t') {
            return false;
        }
        chars += 1;
        if symbol.is_ascii_alphabetic() {
            latin += 1;
        } else if !symbol.is_ascii() && symbol.is_alphabetic() {
            other += 1;
        } else if symbol.is_ascii_digit() || symbol == ' ' || symbol == '\n' {
            wordlike += 1;
        }
    }
    if chars < 4 || (latin + other) * 2 < chars || (latin + other + wordlike) * 10 < chars * 7 {
        return false;
    }
    if other * 2 > latin {
        return true;
    }
    let (sum, pairs) = score(text.bytes().map(|byte| LETTER[usize::from(byte)]));
    sum >= PLAUSIBLE * pairs
}
