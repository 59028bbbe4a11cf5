//! What a byte led to, in a parser that takes one at a time.

/// What the last byte of a request line, or of a response's head, led to.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It goes on.
    More,
    /// It has ended with this byte. A request line ends with `HTTP/1.`: what it is, is known then.
    Done,
    /// This is not HTTP/1.
    Bad,
}
