//! What the targets for messages share: how an input is taken apart, and how inputs are made.
//!
//! An input starts with [`HOW`] bytes that say how the rest is presented. The rest is what a peer has sent.

use libfuzzer_sys::fuzzer_mutate;
use vigie_ebpf::bytes::{BUFFER, BYTEWISE, PIECE};

/// How many bytes say how the others are presented.
const HOW: usize = 8;
/// Up to this number, no byte is repeated: long messages take long.
const ONCE: u8 = 191;

/// What may stand behind a message in a buffer that was used before: the worst are the ends that the message lacks.
const BEHIND: [&[u8]; 10] = [
    b"\0",
    b"\n",
    b"\r\n",
    b"\xff",
    b" ",
    b" HTTP/1.1\r\n\r\n",
    b"HTTP/1.1\r\n",
    b"?/7",
    b"7\r\n\r\n",
    b"\r\nContent-Length: 7\r\nTransfer-Encoding: chunked\r\n\r\n",
];

/// One input: bytes, and how they are presented.
pub struct Case {
    /// The message, and behind it what was cut off.
    bytes: Vec<u8>,
    /// How many of the bytes are the message.
    length: usize,
    behind: usize,
    pieces: u8,
    pub random: Random,
}

// === impl Case ===

impl Case {
    pub fn new(data: &[u8]) -> Option<Self> {
        let (how, rest) = data.split_first_chunk::<HOW>()?;
        let [behind, cut_low, cut_high, place, times, pieces, seed_low, seed_high] = *how;
        let mut bytes = rest.to_vec();
        if times > ONCE && !bytes.is_empty() {
            // One byte becomes many, so that short inputs reach what only happens far from the start.
            let at = usize::from(place) % bytes.len();
            let many = vec![bytes[at]; usize::from(times - ONCE) * 64];
            bytes.splice(at..at, many);
        }
        bytes.truncate(PIECE);
        let cut = usize::from(u16::from_le_bytes([cut_low, cut_high])) % (bytes.len() + 1);
        Some(Self {
            length: bytes.len() - cut,
            bytes,
            behind: behind.into(),
            pieces,
            random: Random(u16::from_le_bytes([seed_low, seed_high]).into()),
        })
    }

    pub fn message(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// Buffers that hold the same message, and behind it first its own end that was cut off, then different bytes.
    pub fn buffers(&self) -> [Box<[u8; BUFFER]>; 3] {
        let behind = |i: usize| BEHIND[(self.behind + i) % BEHIND.len()];
        [
            buffer(&self.bytes, behind(0)),
            buffer(self.message(), behind(0)),
            buffer(self.message(), behind(1 + self.behind / BEHIND.len())),
        ]
    }

    /// The message in pieces, each as long as the kernel side reads byte by byte, at the most.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.message();
        let mut random = self.random;
        std::iter::from_fn(move || {
            let length = match self.pieces {
                0 => BYTEWISE,
                most => 1 + random.below(most.into()),
            };
            let (piece, behind) = rest.split_at(length.min(rest.len()));
            rest = behind;
            (!piece.is_empty()).then_some(piece)
        })
    }
}

/// A buffer that starts with `bytes`, and goes on with `behind`, again and again.
pub fn buffer(bytes: &[u8], behind: &[u8]) -> Box<[u8; BUFFER]> {
    let mut buffer = Box::new([0; BUFFER]);
    // The slack at the end is never written.
    let (message, rest) = buffer[..2 * PIECE].split_at_mut(bytes.len());
    message.copy_from_slice(bytes);
    let mut done = behind.len().min(rest.len());
    rest[..done].copy_from_slice(&behind[..done]);
    while done < rest.len() {
        let (from, to) = rest.split_at_mut(done);
        let more = from.len().min(to.len());
        to[..more].copy_from_slice(&from[..more]);
        done += more;
    }
    buffer
}

/// Numbers that follow from the input: SplitMix64.
#[derive(Clone, Copy)]
pub struct Random(u64);

// === impl Random ===

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

/// Makes an input of another: a short one becomes an example, others get one of the words that messages are made of, or
/// what libFuzzer does to bytes.
pub fn mutate(data: &mut [u8], size: usize, max_size: usize, seed: u32, examples: &[&str], words: &[&str]) -> usize {
    let mut random = Random(seed.into());
    if size <= HOW {
        let example = examples[random.below(examples.len())].as_bytes();
        if HOW + example.len() <= max_size {
            data[..HOW].fill(0);
            data[HOW..HOW + example.len()].copy_from_slice(example);
            return HOW + example.len();
        }
    }
    let mut size = size;
    if size > HOW && random.below(3) == 0 {
        let word = words[random.below(words.len())].as_bytes();
        let at = HOW + random.below(size - HOW + 1);
        // In the place of others, or between them.
        let replaced = [0, word.len(), random.below(32)][random.below(3)].min(size - at);
        let new_size = size - replaced + word.len();
        if new_size <= max_size {
            data.copy_within(at + replaced..size, at + word.len());
            data[at..at + word.len()].copy_from_slice(word);
            size = new_size;
            if random.below(2) == 0 {
                return size;
            }
        }
    }
    fuzzer_mutate(data, size, max_size)
}
