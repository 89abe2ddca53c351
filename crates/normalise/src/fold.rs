//! What each character beyond ASCII is to the Unicode pass: tables, by block.

/// What a character is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// Itself.
    Plain,
    /// A letter of the tag block.
    Tag,
    /// A variation selector.
    Selector,
    /// Has no width.
    Invisible,
    /// Steers the writing direction.
    Bidi,
    /// Looks like a space, or like nothing.
    Blank,
    /// A regional indicator: half a flag.
    Regional,
    /// A letter in another dress.
    Styled(char),
    /// A letter on its head.
    Turned(char),
    /// A letter of a script whose letters may stand in for Latin ones.
    Blind,
    /// A mark that combines with the letter before it.
    Mark,
}

/// What a character beyond ASCII is. Most blocks are told by one comparison or two.
pub(crate) fn class(symbol: char) -> Class {
    let code = u32::from(symbol);
    match code {
        0xad => Class::Invisible,
        0x80..=0x17f => Class::Plain,
        0x183 | 0x1dd | 0x250..=0x2ff => latin_extra(symbol),
        0x180..=0x24f => Class::Plain,
        0x34f => Class::Invisible,
        0x300..=0x36f | 0x483..=0x489 => Class::Mark,
        0x370..=0x52f | 0x561..=0x586 => Class::Blind,
        0x61c => Class::Bidi,
        0x530..=0x115e => Class::Plain,
        0x115f | 0x1160 | 0x1680 => Class::Blank,
        0x17b4 | 0x17b5 | 0x180b..=0x180f => Class::Invisible,
        0x1ab0..=0x1aff | 0x1dc0..=0x1dff => Class::Mark,
        0x1161..=0x1cff => Class::Plain,
        0x1d00..=0x1dbf => latin_extra(symbol),
        0x1e00..=0x1fff => Class::Plain,
        0x2000..=0x2bff => symbols(symbol),
        0x2c00..=0x3163 => Class::Plain,
        0x3164 => Class::Blank,
        0x3165..=0xa71f => Class::Plain,
        0xa720..=0xa7ff => latin_extra(symbol),
        0xa800..=0xfdff => Class::Plain,
        0xfe00..=0xfe0f | 0xe0100..=0xe01ef => Class::Selector,
        0xfe20..=0xfe2f => Class::Mark,
        0xfeff | 0xfff0..=0xfffb | 0x1bca0..=0x1bca3 | 0x1d173..=0x1d17a => Class::Invisible,
        0xffa0 => Class::Blank,
        0xff10..=0xff19 | 0xff21..=0xff3a | 0xff41..=0xff5a => styled(code - 0xfee0),
        0x1d400..=0x1d7ff => mathematical(code),
        0x1f110..=0x1f129 => styled(code - 0x1f110 + 65),
        0x1f130..=0x1f149 => styled(code - 0x1f130 + 65),
        0x1f150..=0x1f169 => styled(code - 0x1f150 + 65),
        0x1f170..=0x1f189 => styled(code - 0x1f170 + 65),
        0x1f1e6..=0x1f1ff => Class::Regional,
        0xe0000..=0xe007f => Class::Tag,
        0xe0080..=0xe00ff | 0xe01f0..=0xe0fff => Class::Invisible,
        _ => Class::Plain,
    }
}

fn styled(code: u32) -> Class {
    char::from_u32(code).map_or(Class::Plain, Class::Styled)
}

const BRAILLE: &str = "⠁a⠃b⠉c⠙d⠑e⠋f⠛g⠓h⠊i⠚j⠅k⠇l⠍m⠝n⠕o⠏p⠟q⠗r⠎s⠞t⠥u⠧v⠺w⠭x⠽y⠵z";

/// The blocks from General Punctuation to Miscellaneous Symbols and Arrows.
fn symbols(symbol: char) -> Class {
    match u32::from(symbol) {
        0x2000..=0x200a | 0x2028 | 0x2029 | 0x205f | 0x2800 => Class::Blank,
        0x2801..=0x283f => pairs(BRAILLE, symbol).map_or(Class::Plain, Class::Styled),
        0x200b..=0x200d | 0x2060..=0x2065 => Class::Invisible,
        0x200e | 0x200f | 0x202a..=0x202e | 0x2066..=0x206f => Class::Bidi,
        0x2071 | 0x207f | 0x2090..=0x209c => latin_extra(symbol),
        0x20d0..=0x20ff => Class::Mark,
        0x2100..=0x214f => letterlike(symbol),
        code @ 0x249c..=0x24b5 => styled(code - 0x249c + 97),
        code @ 0x24b6..=0x24cf => styled(code - 0x24b6 + 65),
        code @ 0x24d0..=0x24e9 => styled(code - 0x24d0 + 97),
        _ => Class::Plain,
    }
}

/// Mathematical alphabets: thirteen of 52 letters, Greek ones (left alone), then five sets of digits.
fn mathematical(code: u32) -> Class {
    match code - 0x1d400 {
        at @ 0..=0x2a3 if at % 52 < 26 => styled(65 + at % 52),
        at @ 0..=0x2a3 => styled(97 + at % 52 - 26),
        0x2a4 => styled(105),
        0x2a5 => styled(106),
        at @ 0x3ce..=0x3ff => styled(48 + (at - 0x3ce) % 10),
        _ => Class::Plain,
    }
}

/// Looks a character up in pairs of "dressed, plain".
fn pairs(table: &str, symbol: char) -> Option<char> {
    let mut chars = table.chars();
    while let (Some(dressed), Some(plain)) = (chars.next(), chars.next()) {
        if dressed == symbol {
            return Some(plain);
        }
    }
    None
}

fn letterlike(symbol: char) -> Class {
    const TABLE: &str = "ℂCℊgℋHℌHℍHℎhℐIℑIℒLℓlℕNℙPℚQℛRℜRℝRℤZℨZℬBℭCℯeℰEℱFℳMℴoℹi";
    pairs(TABLE, symbol).map_or(Class::Plain, Class::Styled)
}

/// Small capitals, raised and lowered letters, the Latin alpha and g of phonetics, letters on their heads.
fn latin_extra(symbol: char) -> Class {
    const STYLED: &str = "ᴀaʙbᴄcᴅdᴇeꜰfɢgʜhɪiᴊjᴋkʟlᴍmɴnᴏoᴘpꞯqʀrꜱsᴛtᴜuᴠvᴡwʏyᴢzɑaɡgʰhʲjʳrʷwʸyˡlˢsˣxᵃaᵇbᶜcᵈdᵉeᶠfᵍgⁱiᵏkᵐmⁿnᵒoᵖpᵗtᵘuᵛvᶻzₐaₑeₕhᵢiⱼjₖkₗlₘmₙnₒoₚpᵣrₛsₜtᵤuᵥvₓxᴬAᴮBᴰDᴱEᴳGᴴHᴵIᴶJᴷKᴸLᴹMᴺNᴼOᴾPᴿRᵀTᵁUⱽVᵂW";
    if let Some(letter) = upright(symbol) {
        return Class::Turned(letter);
    }
    pairs(STYLED, symbol).map_or(Class::Plain, Class::Styled)
}

/// The letter that this one is when the page is turned round.
fn upright(symbol: char) -> Option<char> {
    pairs("ɐaɔcǝeɟfƃgɥhᴉiɾjʞkɯmɹrʇtʌvʍwʎy", symbol)
}

/// The Latin letter that a Cyrillic, Greek or Armenian one looks like.
pub(crate) fn lookalike(symbol: char) -> Option<char> {
    const TABLE: &str = "аaеeоoрpсcуyхxѕsіiјjһhԁdԛqԝwӏlкkмmтtнhвbАAВBЕEКKМMНHОOРPСCТTХXУYЅSІIЈJԌGԜWԚQѵvёeαaοoνvρpιiκkυuτtηnεeγyχxωwΑAΒBΕEΖZΗHΙIΚKΜMΝNΟOΡPΤTΥYΧXίiόoάaέeոnօoսuհhցgզqյj";
    pairs(TABLE, symbol)
}

/// The Cyrillic letter that a Latin one looks like.
pub(crate) fn cyrillic_lookalike(symbol: char) -> Option<char> {
    pairs("aаeеoоpрcсyуxхiіAАBВEЕKКMМHНOОPРCСTТXХYУ", symbol)
}
