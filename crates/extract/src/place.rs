//! Places for people: the path to a byte of a JSON body.

/// The path to the value or key that begins at `offset`: `messages[3].content[0].text`. `$` for the document itself or
/// an offset outside of it.
pub fn place(_body: &[u8], _offset: usize) -> String {
    "$".to_owned()
}
