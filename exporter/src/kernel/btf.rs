//! Struct member offsets and tracepoint signatures from BTF, the description
//! of its types that a Linux kernel publishes in `/sys/kernel/btf/vmlinux`.
//!
//! The format is described in the kernel's `Documentation/bpf/btf.rst`. Nothing
//! in the bytes is trusted: all reads are checked, all walks are bounded.

use thiserror::Error;

/// Header fields up to `str_len`. Linux 7.1 added eight bytes (the place of an
/// optional layout section), which are skipped.
const HEADER_LEN: usize = 24;
const TYPE_LEN: usize = 12;
const MEMBER_LEN: usize = 12;
const PARAM_LEN: usize = 8;
const POINTER_SIZE: u32 = 8;

/// Longest chain of modifiers, arrays or unnamed members that is followed, the
/// same as the kernel's `MAX_RESOLVE_DEPTH`.
const MAX_DEPTH: u32 = 32;
/// Most members looked at for one query: depth alone does not bound the work,
/// as unnamed members can fan out. `task_struct` has about 250 members.
const MAX_VISITS: u32 = 1 << 16;
/// BPF programs attach to tracepoints of at most 12 arguments.
const MAX_PARAMS: usize = 32;
/// Longest name that is copied out, the kernel's `KSYM_NAME_LEN`.
const MAX_NAME: usize = 512;

const VOID: u32 = 0;
const INT: u32 = 1;
const PTR: u32 = 2;
const ARRAY: u32 = 3;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const ENUM: u32 = 6;
const FWD: u32 = 7;
const TYPEDEF: u32 = 8;
const VOLATILE: u32 = 9;
const CONST: u32 = 10;
const RESTRICT: u32 = 11;
const FUNC: u32 = 12;
const FUNC_PROTO: u32 = 13;
const VAR: u32 = 14;
const DATASEC: u32 = 15;
const FLOAT: u32 = 16;
const DECL_TAG: u32 = 17;
const TYPE_TAG: u32 = 18;
const ENUM64: u32 = 19;

/// Why BTF cannot be read, or a question about it cannot be answered.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum BtfError {
    #[error("not btf version 1: expected the bytes of /sys/kernel/btf/vmlinux")]
    NotBtf,
    #[error("btf {0} is cut short or malformed: was the file read whole?")]
    Malformed(&'static str),
    #[error("btf type {id} has unknown kind {kind}: this kernel is newer than this program")]
    UnknownKind { id: usize, kind: u32 },
    #[error("btf type {0} is missing or out of place: the data is corrupt")]
    BadType(u32),
    #[error("btf types form a cycle or nest too deep: the data is corrupt")]
    TooDeep,
    #[error("no struct or union `{0}`: not in this kernel, or only declared")]
    NoStruct(String),
    #[error("no member `{1}` in `{0}`: renamed, or left out of this kernel's configuration")]
    NoMember(String, String),
    #[error("`{0}` is looked for in what is not a struct: pointers and arrays are not followed")]
    NotStruct(String),
    #[error("`{0}` is a bitfield or not byte aligned: it has no byte offset")]
    Bitfield(String),
    #[error("several definitions of `{0}` disagree: it is unknown which one is meant")]
    Ambiguous(String),
    #[error("`{0}` is of incomplete type or does not fit in 32 bits: it has no offset or size")]
    NoSize(String),
    #[error("no prototype of tracepoint `{0}`: not in this kernel, or in a module")]
    NoTracepoint(String),
    #[error("no function `{0}`: not in this kernel, in a module, or inlined everywhere")]
    NoFunction(String),
}

/// Parsed BTF; borrows the bytes.
#[derive(Debug)]
pub struct Btf<'a> {
    types: &'a [u8],
    strings: &'a [u8],
    big_endian: bool,
    /// Where each type record starts in `types`; that of type id 1 is first.
    records: Vec<u32>,
}

/// `struct btf_type`; `body` is where the data particular to its kind starts.
#[derive(Default)]
struct Type {
    name: u32,
    kind: u32,
    kind_flag: bool,
    vlen: usize,
    size_or_type: u32,
    body: usize,
}

impl Type {
    fn is_struct(&self) -> bool {
        matches!(self.kind, STRUCT | UNION)
    }

    /// Where the record ends, unless the kind is unknown.
    fn end(&self) -> Option<usize> {
        let body_len = match self.kind {
            PTR | FWD | TYPEDEF | VOLATILE | CONST | RESTRICT | FUNC | FLOAT | TYPE_TAG => 0,
            INT | VAR | DECL_TAG => 4,
            ARRAY => 12,
            ENUM | FUNC_PROTO => 8 * self.vlen,
            STRUCT | UNION | DATASEC | ENUM64 => 12 * self.vlen,
            _ => return None,
        };
        Some(self.body + body_len)
    }
}

/// A struct member, `bits` from the start of the struct that was asked about.
#[derive(Default)]
struct Member {
    type_id: u32,
    bits: u64,
    bitfield: bool,
}

fn word(data: &[u8], at: usize, big_endian: bool) -> Option<u32> {
    let bytes = data.get(at..at.checked_add(4)?)?.try_into().ok()?;
    Some(match big_endian {
        true => u32::from_be_bytes(bytes),
        false => u32::from_le_bytes(bytes),
    })
}

impl<'a> Btf<'a> {
    /// Reads the header (btf.rst section 2) and finds where every type record
    /// (section 2.2) starts, in one pass. Both byte orders are understood.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BtfError> {
        let big_endian = match bytes {
            [0x9f, 0xeb, 1, ..] => false,
            [0xeb, 0x9f, 1, ..] => true,
            _ => return Err(BtfError::NotBtf),
        };
        let field = |at| word(bytes, at, big_endian).map(|value| value as usize);
        if field(4).is_none_or(|len| len < HEADER_LEN) {
            return Err(BtfError::Malformed("header"));
        }
        // Sections are placed relative to the end of the header.
        let section = |at| {
            let start = field(4)?.checked_add(field(at)?)?;
            bytes.get(start..start.checked_add(field(at + 4)?)?)
        };
        let types = section(8).ok_or(BtfError::Malformed("type section"))?;
        let strings = section(16).ok_or(BtfError::Malformed("string section"))?;
        // Split BTF, that of a kernel module, does not start with a nul.
        if strings.first() != Some(&0) || strings.last() != Some(&0) {
            return Err(BtfError::Malformed("string section"));
        }
        let mut btf = Self {
            types,
            strings,
            big_endian,
            records: Vec::new(),
        };
        let mut at = 0;
        while at < types.len() {
            // Lossless: the length of the section is a 32-bit field.
            btf.records.push(at as u32);
            let (id, ty) = (btf.records.len(), btf.type_at(at)?);
            let kind = ty.kind;
            at = ty.end().ok_or(BtfError::UnknownKind { id, kind })?;
        }
        match at == types.len() {
            true => Ok(btf),
            false => Err(BtfError::Malformed("type record")),
        }
    }

    /// Byte offset of a member of a struct or union (btf.rst section 2.2.4).
    ///
    /// The path may be dotted. Each part is also looked for in unnamed members,
    /// as C does. Definitions of the same name that have the member must agree;
    /// those that do not have it are passed over.
    pub fn offset(&self, strukt: &str, member_path: &str) -> Result<u32, BtfError> {
        self.member(strukt, member_path, |member| Ok(u32::try_from(member.bits / 8).ok()))
    }

    /// Size in bytes of a member, found as by [`Btf::offset`]: 8 for a pointer,
    /// that of all elements for an array (btf.rst section 2.2.3).
    pub fn size(&self, strukt: &str, member_path: &str) -> Result<u32, BtfError> {
        self.member(strukt, member_path, |member| self.type_size(member.type_id))
    }

    /// Types of the arguments of a tracepoint, such as `["struct sock *", "int"]`.
    ///
    /// The kernel has a typedef `btf_trace_<name>` of a pointer to a function
    /// for each tracepoint (btf.rst sections 2.2.2, 2.2.8 and 2.2.13). The first
    /// parameter, `void *__data`, is no argument. The others are unnamed.
    pub fn tracepoint_args(&self, name: &str) -> Result<Vec<String>, BtfError> {
        let typedef = format!("btf_trace_{name}");
        let mut found = None;
        for ty in self.named(&typedef, &[TYPEDEF]) {
            let Some(args) = self.args(&ty)? else {
                continue;
            };
            if found.as_ref().is_some_and(|other| *other != args) {
                return Err(BtfError::Ambiguous(name.to_owned()));
            }
            found = Some(args);
        }
        found.ok_or_else(|| BtfError::NoTracepoint(name.to_owned()))
    }

    /// Types of the arguments of a function, as by [`Btf::tracepoint_args`].
    ///
    /// Functions of one name, each local to its file, must agree (btf.rst sections 2.2.12 and 2.2.13).
    pub fn function_args(&self, name: &str) -> Result<Vec<String>, BtfError> {
        let mut found = None;
        for ty in self.named(name, &[FUNC]) {
            let proto = self.peel(ty.size_or_type)?;
            if proto.kind != FUNC_PROTO || proto.vlen > MAX_PARAMS {
                continue;
            }
            let args = self.params(&proto)?;
            if found.as_ref().is_some_and(|other| *other != args) {
                return Err(BtfError::Ambiguous(name.to_owned()));
            }
            found = Some(args);
        }
        found.ok_or_else(|| BtfError::NoFunction(name.to_owned()))
    }

    /// The type id of a function, of which there must be one.
    pub fn function_id(&self, name: &str) -> Result<u32, BtfError> {
        let is_it = |at: &u32| {
            self.type_at(*at as usize)
                .is_ok_and(|ty| ty.kind == FUNC && self.is_named(ty.name, name))
        };
        // Ids begin with 1, as 0 is void.
        let mut ids = (1..).zip(&self.records).filter(|(_, at)| is_it(at)).map(|(id, _)| id);
        match (ids.next(), ids.next()) {
            (Some(id), None) => Ok(id),
            (Some(_), Some(_)) => Err(BtfError::Ambiguous(name.to_owned())),
            (None, _) => Err(BtfError::NoFunction(name.to_owned())),
        }
    }

    /// What `pick` makes of a member, which must be the same in all definitions.
    fn member(
        &self,
        strukt: &str,
        path: &str,
        pick: impl Fn(&Member) -> Result<Option<u32>, BtfError>,
    ) -> Result<u32, BtfError> {
        let mut error = BtfError::NoStruct(strukt.to_owned());
        let (mut found, mut visits) = (None, MAX_VISITS);
        for ty in self.named(strukt, &[STRUCT, UNION]) {
            error = BtfError::NoMember(strukt.to_owned(), path.to_owned());
            let Some(member) = self.walk(ty, path, &mut visits)? else {
                continue;
            };
            let value = pick(&member)?.ok_or_else(|| BtfError::NoSize(path.to_owned()))?;
            if found.is_some_and(|other| other != value) {
                return Err(BtfError::Ambiguous(strukt.to_owned()));
            }
            found = Some(value);
        }
        found.ok_or(error)
    }

    /// Follows a dotted path from `ty`.
    fn walk(&self, mut ty: Type, path: &str, visits: &mut u32) -> Result<Option<Member>, BtfError> {
        let mut member = Member::default();
        for part in path.split('.') {
            if !ty.is_struct() {
                return Err(BtfError::NotStruct(part.to_owned()));
            }
            match self.find(&ty, part, member.bits, MAX_DEPTH, visits)? {
                Some(found) => member = found,
                None => return Ok(None),
            }
            ty = self.peel(member.type_id)?;
            if member.bitfield || member.bits % 8 != 0 || self.is_bitfield(&ty)? {
                return Err(BtfError::Bitfield(part.to_owned()));
            }
        }
        Ok(Some(member))
    }

    /// Finds a member of `ty`, which itself starts at `base` bits, by its name.
    fn find(&self, ty: &Type, name: &str, base: u64, depth: u32, visits: &mut u32) -> Result<Option<Member>, BtfError> {
        let depth = depth.checked_sub(1).ok_or(BtfError::TooDeep)?;
        for index in 0..ty.vlen {
            *visits = visits.checked_sub(1).ok_or(BtfError::TooDeep)?;
            let at = ty.body + index * MEMBER_LEN;
            let (name_at, type_id, offset) = (self.word(at)?, self.word(at + 4)?, self.word(at + 8)?);
            // With kind_flag, the top byte is the width of a bitfield or zero.
            let (width, offset) = match ty.kind_flag {
                true => (offset >> 24, offset & 0xff_ffff),
                false => (0, offset),
            };
            let bits = base.saturating_add(offset.into());
            if self.is_named(name_at, name) {
                let bitfield = width != 0;
                return Ok(Some(Member {
                    type_id,
                    bits,
                    bitfield,
                }));
            }
            let unnamed = self.strings.get(name_at as usize) == Some(&0);
            let inner = if unnamed {
                self.peel(type_id)?
            } else {
                continue;
            };
            if inner.is_struct()
                && let Some(found) = self.find(&inner, name, bits, depth, visits)?
            {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Without kind_flag, a bitfield is an integer type of fewer bits than its
    /// bytes hold, or that starts at another bit than 0 (btf.rst section 2.2.1).
    fn is_bitfield(&self, ty: &Type) -> Result<bool, BtfError> {
        if ty.kind != INT {
            return Ok(false);
        }
        let encoding = self.word(ty.body)?;
        let (first, bits) = ((encoding >> 16) & 0xff, encoding & 0xff);
        Ok(first != 0 || ty.size_or_type.checked_mul(8) != Some(bits))
    }

    /// Size in bytes; none for incomplete types and for more than 32 bits.
    fn type_size(&self, mut id: u32) -> Result<Option<u32>, BtfError> {
        let mut count = 1u32;
        for _ in 0..MAX_DEPTH {
            let ty = self.peel(id)?;
            let factor = match ty.kind {
                INT | ENUM | ENUM64 | FLOAT | STRUCT | UNION => ty.size_or_type,
                PTR => POINTER_SIZE,
                ARRAY => self.word(ty.body + 8)?,
                _ => return Ok(None),
            };
            match count.checked_mul(factor) {
                Some(product) if ty.kind == ARRAY => count = product,
                size => return Ok(size),
            }
            id = self.word(ty.body)?;
        }
        Err(BtfError::TooDeep)
    }

    /// Arguments, if `typedef` is one of a pointer to a tracepoint's prototype.
    fn args(&self, typedef: &Type) -> Result<Option<Vec<String>>, BtfError> {
        let pointer = self.peel(typedef.size_or_type)?;
        if pointer.kind != PTR {
            return Ok(None);
        }
        let proto = self.peel(pointer.size_or_type)?;
        if proto.kind != FUNC_PROTO || proto.vlen > MAX_PARAMS {
            return Ok(None);
        }
        let mut args = self.params(&proto)?;
        if args.first().is_none_or(|data| data != "void *") {
            return Ok(None);
        }
        args.remove(0);
        Ok(Some(args))
    }

    /// Types of the parameters of a prototype.
    fn params(&self, proto: &Type) -> Result<Vec<String>, BtfError> {
        let types = (0..proto.vlen).map(|index| {
            let id = self.word(proto.body + index * PARAM_LEN + 4)?;
            self.render(id, MAX_DEPTH)
        });
        types.collect()
    }

    /// A type much as C spells it; a pointer to a function is `func *`.
    fn render(&self, id: u32, depth: u32) -> Result<String, BtfError> {
        let depth = depth.checked_sub(1).ok_or(BtfError::TooDeep)?;
        let ty = self.ty(id)?;
        let tagged = |tag: &str| Ok(format!("{tag}{}", self.name(ty.name)?));
        let inner = || self.render(ty.size_or_type, depth);
        let qualified = |word: &str| match inner()? {
            inner if inner.contains('*') => Ok(format!("{inner} {word}")),
            inner => Ok(format!("{word} {inner}")),
        };
        match ty.kind {
            VOID => Ok("void".to_owned()),
            INT | FLOAT | TYPEDEF => self.name(ty.name),
            FWD if ty.kind_flag => tagged("union "),
            STRUCT | FWD => tagged("struct "),
            UNION => tagged("union "),
            ENUM | ENUM64 => tagged("enum "),
            FUNC_PROTO => Ok("func".to_owned()),
            PTR => match inner()? {
                inner if inner.ends_with('*') => Ok(format!("{inner}*")),
                inner => Ok(format!("{inner} *")),
            },
            ARRAY => Ok(format!("{}[]", self.render(self.word(ty.body)?, depth)?)),
            CONST => qualified("const"),
            VOLATILE => qualified("volatile"),
            RESTRICT => qualified("restrict"),
            TYPE_TAG => inner(),
            _ => Err(BtfError::BadType(id)),
        }
    }

    /// The type behind typedefs, qualifiers and tags.
    fn peel(&self, mut id: u32) -> Result<Type, BtfError> {
        for _ in 0..MAX_DEPTH {
            let ty = self.ty(id)?;
            match ty.kind {
                TYPEDEF | VOLATILE | CONST | RESTRICT | TYPE_TAG => id = ty.size_or_type,
                _ => return Ok(ty),
            }
        }
        Err(BtfError::TooDeep)
    }

    /// The record of a type; id 0 is `void` and has none.
    fn ty(&self, id: u32) -> Result<Type, BtfError> {
        let Some(index) = id.checked_sub(1) else {
            return Ok(Type::default());
        };
        let start = self.records.get(index as usize);
        self.type_at(*start.ok_or(BtfError::BadType(id))? as usize)
    }

    fn type_at(&self, at: usize) -> Result<Type, BtfError> {
        let info = self.word(at + 4)?;
        // Since Linux 7.1, seven bits of kind and 24 of vlen; before that, five
        // and 16, where the other bits had to be zero.
        Ok(Type {
            name: self.word(at)?,
            kind: (info >> 24) & 0x7f,
            kind_flag: info >> 31 == 1,
            vlen: (info & 0xff_ffff) as usize,
            size_or_type: self.word(at + 8)?,
            body: at + TYPE_LEN,
        })
    }

    /// All types of that name and one of the kinds; records do not lie in any
    /// useful order, so this looks at each.
    fn named(&self, name: &str, kinds: &[u32]) -> impl Iterator<Item = Type> {
        let types = self.records.iter().filter_map(|at| self.type_at(*at as usize).ok());
        types.filter(move |ty| kinds.contains(&ty.kind) && self.is_named(ty.name, name))
    }

    /// Compares without a search for the end of the string in the data.
    fn is_named(&self, at: u32, name: &str) -> bool {
        let found = self.strings.get(at as usize..);
        let rest = found.and_then(|found| found.strip_prefix(name.as_bytes()));
        !name.is_empty() && rest.is_some_and(|rest| rest.first() == Some(&0))
    }

    fn name(&self, at: u32) -> Result<String, BtfError> {
        let bytes = self.strings.get(at as usize..).unwrap_or_default();
        let len = bytes.iter().take(MAX_NAME).position(|byte| *byte == 0);
        let name = len.and_then(|len| str::from_utf8(bytes.get(..len)?).ok());
        Ok(name.ok_or(BtfError::Malformed("name"))?.to_owned())
    }

    fn word(&self, at: usize) -> Result<u32, BtfError> {
        word(self.types, at, self.big_endian).ok_or(BtfError::Malformed("type record"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    /// Assembles BTF; ids count from 1 in the order of the calls.
    #[derive(Default)]
    struct Builder {
        big_endian: bool,
        words: Vec<u32>,
        strings: Vec<u8>,
        last_id: u32,
    }

    impl Builder {
        fn name(&mut self, name: &str) -> u32 {
            if name.is_empty() {
                return 0;
            }
            let at = 1 + self.strings.len() as u32;
            self.strings.extend(name.bytes().chain([0]));
            at
        }

        fn record(&mut self, name: &str, info: u32, size_or_type: u32, body: &[u32]) -> u32 {
            let name = self.name(name);
            self.words.extend([name, info, size_or_type]);
            self.words.extend(body);
            self.last_id += 1;
            self.last_id
        }

        fn int(&mut self, name: &str, size: u32, bits: u32) -> u32 {
            self.record(name, INT << 24, size, &[bits])
        }

        /// A type that consists of a reference to another.
        fn wrap(&mut self, kind: u32, name: &str, target: u32) -> u32 {
            self.record(name, kind << 24, target, &[])
        }

        fn array(&mut self, element: u32, len: u32) -> u32 {
            self.record("", ARRAY << 24, 0, &[element, element, len])
        }

        /// Members are (name, type, offset field).
        fn strukt(&mut self, kind: u32, name: &str, members: &[(&str, u32, u32)]) -> u32 {
            let mut body = Vec::new();
            for (name, id, offset) in members {
                body.extend([self.name(name), *id, *offset]);
            }
            self.record(name, kind << 24 | members.len() as u32, 64, &body)
        }

        fn tracepoint(&mut self, name: &str, params: &[u32]) -> u32 {
            let body: Vec<u32> = params.iter().flat_map(|id| [0, *id]).collect();
            let info = FUNC_PROTO << 24 | params.len() as u32;
            let proto = self.record("", info, 0, &body);
            let pointer = self.wrap(PTR, "", proto);
            self.wrap(TYPEDEF, &format!("btf_trace_{name}"), pointer)
        }

        fn function(&mut self, name: &str, params: &[u32]) -> u32 {
            let body: Vec<u32> = params.iter().flat_map(|id| [0, *id]).collect();
            let proto = self.record("", FUNC_PROTO << 24 | params.len() as u32, 0, &body);
            self.wrap(FUNC, name, proto)
        }

        fn bytes(&self) -> Vec<u8> {
            self.bytes_with_header(24)
        }

        fn bytes_with_header(&self, header_len: u32) -> Vec<u8> {
            let types_len = 4 * self.words.len() as u32;
            let strings_len = 1 + self.strings.len() as u32;
            let mut words = vec![header_len, 0, types_len, types_len, strings_len];
            words.resize(words.len() + (header_len as usize - 24) / 4, 0xffff_ffff);
            words.extend(&self.words);
            let mut bytes = match self.big_endian {
                true => vec![0xeb, 0x9f, 1, 0],
                false => vec![0x9f, 0xeb, 1, 0],
            };
            for word in words {
                bytes.extend(match self.big_endian {
                    true => word.to_be_bytes(),
                    false => word.to_le_bytes(),
                });
            }
            bytes.push(0);
            bytes.extend(&self.strings);
            bytes
        }
    }

    const KIND_FLAG: u32 = 128;

    /// Some of everything: all kinds, nesting, modifiers and a tracepoint.
    fn example(big_endian: bool) -> Builder {
        let mut b = Builder {
            big_endian,
            ..Builder::default()
        };
        let int = b.int("int", 4, 32);
        let void_ptr = b.wrap(PTR, "", 0);
        let info = b.strukt(STRUCT, "sched_info", &[("count", int, 0), ("run_delay", int, 64)]);
        let info = b.wrap(TYPEDEF, "info_t", info);
        let info = b.wrap(CONST, "", info);
        let info = b.wrap(TYPE_TAG, "tag", info);
        let info = b.wrap(VOLATILE, "", info);
        let deep = b.strukt(STRUCT, "", &[("low", int, 0), ("high", int, 32)]);
        let deep = b.strukt(UNION, "", &[("whole", void_ptr, 0), ("", deep, 0)]);
        let array = b.array(int, 3);
        let array = b.array(array, 2);
        let color = b.record("color", ENUM << 24 | 1, 4, &[0, 7]);
        let wide = b.record("wide", ENUM64 << 24 | 1, 8, &[0, 7, 7]);
        let float = b.record("double", FLOAT << 24, 8, &[]);
        let later = b.wrap(FWD, "later", 0);
        let task = b.strukt(
            STRUCT,
            "task",
            &[
                ("pid", int, 0),
                ("", deep, 64),
                ("info", info, 128),
                ("parent", void_ptr, 256),
                ("grid", array, 320),
                ("color", color, 512),
                ("wide", wide, 576),
                ("ratio", float, 640),
                ("later", later, 704),
            ],
        );
        b.record("", DATASEC << 24 | 1, 4, &[1, 0, 4]);
        b.record("current", VAR << 24, int, &[0]);
        b.record("tag", DECL_TAG << 24, task, &[0]);
        b.record("main", FUNC << 24 | 1, 0, &[]);
        let task_ptr = b.wrap(PTR, "", task);
        let const_task = b.wrap(CONST, "", task);
        let const_ptr = b.wrap(PTR, "", const_task);
        let ptr_const = b.wrap(RESTRICT, "", task_ptr);
        let ptr_ptr = b.wrap(PTR, "", task_ptr);
        b.tracepoint("all", &[void_ptr, task_ptr, const_ptr, ptr_const, ptr_ptr, color, int]);
        b.tracepoint("none", &[void_ptr]);
        b.function("function", &[task_ptr, int]);
        b
    }

    fn no_member(strukt: &str, path: &str) -> Result<u32, BtfError> {
        Err(BtfError::NoMember(strukt.into(), path.into()))
    }

    #[test]
    fn members_resolve_in_both_byte_orders_and_with_a_longer_header() {
        for bytes in [
            example(false).bytes(),
            example(true).bytes(),
            example(false).bytes_with_header(32),
        ] {
            let btf = Btf::parse(&bytes).unwrap();
            for (path, offset, size) in [
                ("pid", 0, 4),
                ("whole", 8, 8),
                ("low", 8, 4),
                ("high", 12, 4),
                ("info", 16, 64),
                ("info.run_delay", 24, 4),
                ("parent", 32, 8),
                ("grid", 40, 24),
                ("color", 64, 4),
                ("wide", 72, 8),
                ("ratio", 80, 8),
            ] {
                assert_eq!(btf.offset("task", path), Ok(offset), "{path}");
                assert_eq!(btf.size("task", path), Ok(size), "{path}");
            }
        }
    }

    #[test]
    fn what_is_not_there_is_an_error_of_its_own() {
        let bytes = example(false).bytes();
        let btf = Btf::parse(&bytes).unwrap();
        assert_eq!(btf.offset("task", "pi"), no_member("task", "pi"));
        assert_eq!(btf.offset("task", ""), no_member("task", ""));
        assert_eq!(btf.offset("task", "info..count"), no_member("task", "info..count"));
        assert_eq!(btf.offset("task", "info.pid"), no_member("task", "info.pid"));
        for name in ["", "tas", "int", "info_t", "later"] {
            assert_eq!(btf.offset(name, "pid"), Err(BtfError::NoStruct(name.into())));
        }
        assert_eq!(btf.offset("task", "parent.pid"), Err(BtfError::NotStruct("pid".into())));
        assert_eq!(btf.offset("task", "later"), Ok(88));
        assert_eq!(btf.size("task", "later"), Err(BtfError::NoSize("later".into())));
        assert_eq!(btf.offset("task", "later.x"), Err(BtfError::NotStruct("x".into())));
    }

    #[test]
    fn tracepoint_arguments_are_spelled_as_in_c() {
        let bytes = example(false).bytes();
        let btf = Btf::parse(&bytes).unwrap();
        let all = [
            "struct task *",
            "const struct task *",
            "struct task * restrict",
            "struct task **",
            "enum color",
            "int",
        ];
        assert_eq!(btf.tracepoint_args("all").unwrap(), all);
        assert_eq!(btf.tracepoint_args("none").unwrap(), [""; 0]);
        assert_eq!(btf.tracepoint_args("al"), Err(BtfError::NoTracepoint("al".into())));
    }

    #[test]
    fn a_tracepoint_needs_a_prototype_that_starts_with_void_pointer() {
        let mut b = Builder::default();
        let int = b.int("int", 4, 32);
        b.tracepoint("odd", &[int]);
        b.tracepoint("empty", &[]);
        b.wrap(TYPEDEF, "btf_trace_int", int);
        b.tracepoint("many", &[int; 33]);
        let void_ptr = b.wrap(PTR, "", 0);
        b.tracepoint("two", &[void_ptr, int]);
        b.tracepoint("two", &[void_ptr]);
        let bytes = b.bytes();
        let btf = Btf::parse(&bytes).unwrap();
        for name in ["odd", "empty", "int", "many"] {
            assert_eq!(btf.tracepoint_args(name), Err(BtfError::NoTracepoint(name.into())));
        }
        assert_eq!(btf.tracepoint_args("two"), Err(BtfError::Ambiguous("two".into())));
    }

    #[test]
    fn functions_of_one_name_must_agree_on_their_arguments() {
        let mut b = Builder::default();
        let int = b.int("int", 4, 32);
        let pointer = b.wrap(PTR, "", int);
        b.function("plain", &[pointer, int]);
        b.function("plain", &[pointer, int]);
        b.function("void", &[]);
        b.function("two", &[int]);
        b.function("two", &[pointer]);
        b.function("many", &[int; 33]);
        b.wrap(FUNC, "odd", int);
        b.tracepoint("trace", &[pointer]);
        let bytes = b.bytes();
        let btf = Btf::parse(&bytes).unwrap();
        assert_eq!(btf.function_args("plain").unwrap(), ["int *", "int"]);
        assert_eq!(btf.function_args("void").unwrap(), [""; 0]);
        assert_eq!(btf.function_args("two"), Err(BtfError::Ambiguous("two".into())));
        for name in ["many", "odd", "trace", "btf_trace_trace", "plai"] {
            assert_eq!(btf.function_args(name), Err(BtfError::NoFunction(name.into())));
        }
    }

    #[test]
    fn definitions_of_one_name_must_agree_on_the_member() {
        let mut b = Builder::default();
        let int = b.int("int", 4, 32);
        let long = b.int("long", 8, 64);
        b.strukt(STRUCT, "s", &[("same", int, 0), ("moved", int, 32), ("grown", int, 64)]);
        b.strukt(
            STRUCT,
            "s",
            &[("same", int, 0), ("moved", int, 64), ("grown", long, 64)],
        );
        b.strukt(STRUCT, "s", &[("other", int, 96)]);
        b.wrap(FWD, "s", 0);
        let bytes = b.bytes();
        let btf = Btf::parse(&bytes).unwrap();
        let ambiguous = Err(BtfError::Ambiguous("s".into()));
        assert_eq!(btf.offset("s", "same"), Ok(0));
        assert_eq!(btf.offset("s", "other"), Ok(12));
        assert_eq!(btf.offset("s", "moved"), ambiguous);
        assert_eq!(btf.size("s", "moved"), Ok(4));
        assert_eq!(btf.offset("s", "grown"), Ok(8));
        assert_eq!(btf.size("s", "grown"), ambiguous);
    }

    #[test]
    fn bitfields_have_no_byte_offset_in_either_encoding() {
        let mut b = Builder::default();
        let int = b.int("int", 4, 32);
        let four = b.int("int", 4, 4);
        let shifted = b.int("int", 4, 8 << 16 | 32);
        let members = [("full", int, 8), ("four", four, 8), ("odd", int, 4), ("sh", shifted, 0)];
        b.strukt(STRUCT, "old", &members);
        let members = [("full", int, 8), ("four", int, 4 << 24 | 8), ("odd", int, 4)];
        b.strukt(STRUCT | KIND_FLAG, "new", &members);
        let bytes = b.bytes();
        let btf = Btf::parse(&bytes).unwrap();
        for strukt in ["old", "new"] {
            assert_eq!(btf.offset(strukt, "full"), Ok(1));
            for member in ["four", "odd"] {
                let bitfield = Err(BtfError::Bitfield(member.into()));
                assert_eq!(btf.offset(strukt, member), bitfield);
                assert_eq!(btf.size(strukt, member), bitfield);
            }
        }
        assert_eq!(btf.offset("old", "sh"), Err(BtfError::Bitfield("sh".into())));
    }

    #[test]
    fn cycles_and_fan_out_end() {
        let mut b = Builder::default();
        b.wrap(TYPEDEF, "loop", 2);
        b.wrap(CONST, "", 1);
        b.strukt(STRUCT, "mods", &[("m", 1, 0)]);
        b.strukt(STRUCT, "self", &[("", 4, 0), ("m", 1, 0)]);
        b.strukt(STRUCT, "wide", &[("", 5, 0); 1000]);
        b.array(6, 1);
        b.strukt(STRUCT, "arrays", &[("m", 6, 0)]);
        b.wrap(PTR, "", 0);
        b.wrap(PTR, "", 9);
        b.tracepoint("pointers", &[8, 9]);
        // 20 levels that each hold the next one twice: a million paths.
        let first = b.last_id + 1;
        for level in first..first + 20 {
            let name = if level == first { "tree" } else { "" };
            b.strukt(UNION, name, &[("", level + 1, 0), ("", level + 1, 0)]);
        }
        b.strukt(UNION, "", &[]);
        let bytes = b.bytes();
        let btf = Btf::parse(&bytes).unwrap();
        for strukt in ["mods", "self", "wide", "tree"] {
            assert_eq!(btf.offset(strukt, "m"), Err(BtfError::TooDeep), "{strukt}");
        }
        assert_eq!(btf.offset("arrays", "m"), Ok(0));
        assert_eq!(btf.size("arrays", "m"), Err(BtfError::TooDeep));
        assert_eq!(btf.tracepoint_args("pointers"), Err(BtfError::TooDeep));
    }

    #[test]
    fn missing_types_and_numbers_too_large_are_errors() {
        let mut b = Builder::default();
        let int = b.int("int", 4, 32);
        let array = b.array(int, u32::MAX);
        let far = b.strukt(STRUCT, "", &[("m", int, !7)]);
        let mut nested = far;
        for _ in 0..9 {
            nested = b.strukt(STRUCT, "", &[("", nested, !7)]);
        }
        let members = [("big", array, 0), ("gone", 99, 0), ("", nested, 0)];
        b.strukt(STRUCT, "s", &members);
        let bytes = b.bytes();
        let btf = Btf::parse(&bytes).unwrap();
        assert_eq!(btf.size("s", "big"), Err(BtfError::NoSize("big".into())));
        assert_eq!(btf.offset("s", "gone"), Err(BtfError::BadType(99)));
        assert_eq!(btf.offset("s", "m"), Err(BtfError::NoSize("m".into())));
    }

    #[test]
    fn every_cut_is_noticed() {
        let bytes = example(false).bytes();
        for len in 0..bytes.len() {
            assert!(Btf::parse(&bytes[..len]).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn headers_and_kinds_that_are_not_known_are_refused() {
        let good = example(false).bytes();
        let with = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            Btf::parse(&bytes).map(|_| ())
        };
        assert_eq!(with(0, 0x7f), Err(BtfError::NotBtf));
        assert_eq!(with(2, 2), Err(BtfError::NotBtf));
        assert_eq!(with(4, 23), Err(BtfError::Malformed("header")));
        assert_eq!(with(24 + 7, 20), Err(BtfError::UnknownKind { id: 1, kind: 20 }));
        assert_eq!(with(24 + 7, 0), Err(BtfError::UnknownKind { id: 1, kind: 0 }));
        let last = good.len() - 1;
        assert_eq!(with(last, b'x'), Err(BtfError::Malformed("string section")));
        // One word is taken off the type section, so its last record is cut.
        let types_len = u32::from_le_bytes(good[12..16].try_into().unwrap()) - 4;
        let mut cut = good.clone();
        cut[12..16].copy_from_slice(&types_len.to_le_bytes());
        assert!(Btf::parse(&cut).is_err());
    }

    /// Asks about all that the example defines; the answers do not matter.
    fn ask(bytes: &[u8]) {
        let Ok(btf) = Btf::parse(bytes) else { return };
        for path in ["pid", "high", "info.run_delay", "grid", "later.x", "nothing"] {
            let _ = (btf.offset("task", path), btf.size("task", path));
        }
        let _ = (btf.tracepoint_args("all"), btf.tracepoint_args("none"));
        let _ = btf.function_args("function");
    }

    /// A member at a byte offset; a member without a name has members.
    #[derive(Debug, Clone)]
    struct Layout {
        offset: u32,
        named: bool,
        union: bool,
        wrapped: bool,
        members: Vec<Layout>,
    }

    fn layout() -> impl Strategy<Value = Layout> {
        let parts = || (0..4096u32, any::<bool>(), any::<bool>(), any::<bool>());
        let make = |((offset, named, union, wrapped), members): (_, Vec<Layout>)| {
            let named = named || members.is_empty();
            Layout {
                offset,
                named,
                union,
                wrapped,
                members,
            }
        };
        let leaf = (parts(), Just(Vec::new())).prop_map(make);
        leaf.prop_recursive(5, 40, 5, move |inner| (parts(), vec(inner, 1..5)).prop_map(make))
    }

    /// Adds the types of `members` and notes where each named one has to be.
    fn build(
        b: &mut Builder,
        kind: u32,
        name: &str,
        members: &[Layout],
        (prefix, base): (&str, u32),
        expected: &mut Vec<(String, u32)>,
    ) -> u32 {
        let mut fields = Vec::new();
        for member in members {
            let offset = base + member.offset;
            // No name is used twice, as in C.
            let name = if member.named {
                format!("m{}", expected.len())
            } else {
                String::new()
            };
            let path = format!("{prefix}{name}");
            if member.named {
                expected.push((path.clone(), offset));
            }
            let prefix = if member.named { format!("{path}.") } else { path };
            let kind = if member.union { UNION } else { STRUCT };
            let mut id = match member.members.is_empty() {
                true => b.int("int", 4, 32),
                false => build(b, kind, "", &member.members, (&prefix, offset), expected),
            };
            if member.wrapped {
                id = b.wrap(CONST, "", id);
                id = b.wrap(TYPEDEF, "t", id);
            }
            fields.push((name, id, member.offset * 8));
        }
        let fields: Vec<_> = fields.iter().map(|(n, id, at)| (n.as_str(), *id, *at)).collect();
        b.strukt(kind, name, &fields)
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_do_not_panic(bytes in vec(any::<u8>(), 0..512), big in any::<bool>()) {
            ask(&bytes);
            let mut types = Builder { big_endian: big, ..Builder::default() };
            types.words = bytes.chunks_exact(4).map(|c| u32::from_le_bytes(c.try_into().unwrap())).collect();
            ask(&types.bytes());
        }

        #[test]
        fn damaged_btf_does_not_panic(
            big in any::<bool>(),
            flips in vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
            len in any::<prop::sample::Index>(),
            cut in prop::bool::weighted(0.2),
        ) {
            let mut bytes = example(big).bytes();
            for (at, byte) in flips {
                *at.get_mut(&mut bytes) = byte;
            }
            if cut {
                bytes.truncate(len.index(bytes.len()));
            }
            ask(&bytes);
        }

        #[test]
        fn random_layouts_resolve(
            members in vec(layout(), 1..6),
            big_endian in any::<bool>(),
            kind_flag in any::<bool>(),
        ) {
            let mut b = Builder { big_endian, ..Builder::default() };
            let mut expected = Vec::new();
            let kind = if kind_flag { STRUCT | KIND_FLAG } else { STRUCT };
            build(&mut b, kind, "root", &members, ("", 0), &mut expected);
            let bytes = b.bytes();
            let btf = Btf::parse(&bytes).unwrap();
            for (path, offset) in expected {
                prop_assert_eq!(btf.offset("root", &path), Ok(offset), "{}", path);
            }
        }
    }

    /// The kernel that runs the test; the layout of its types is not fixed, so
    /// mostly relations are checked.
    #[test]
    fn the_running_kernel_resolves() {
        let path = "/sys/kernel/btf/vmlinux";
        let bytes = std::fs::read(path).expect("Vigie needs a kernel with BTF");
        let btf = Btf::parse(&bytes).unwrap();
        let offset = |strukt, path| btf.offset(strukt, path).unwrap();
        let size = |strukt, path| btf.size(strukt, path).unwrap();

        // `struct sock` starts with its `sock_common`.
        assert_eq!(offset("sock", "__sk_common"), 0);
        assert_eq!(offset("sock", "__sk_common.skc_num"), offset("sock_common", "skc_num"));
        assert_eq!(offset("sock_common", "skc_num"), offset("sock_common", "skc_dport") + 2);
        assert_eq!(
            offset("sock_common", "skc_rcv_saddr"),
            offset("sock_common", "skc_daddr") + 4
        );
        assert_eq!(size("sock", "__sk_common.skc_family"), 2);
        assert_eq!(size("sock", "__sk_common.skc_v6_daddr"), 16);
        let reuse = btf.offset("sock_common", "skc_reuse");
        assert_eq!(reuse, Err(BtfError::Bitfield("skc_reuse".into())));
        assert_eq!(offset("tcp_sock", "inet_conn.icsk_inet.sk"), 0);
        for member in ["rcv_nxt", "copied_seq", "snd_una", "write_seq"] {
            assert!(offset("tcp_sock", member) >= size("tcp_sock", "inet_conn"), "{member}");
            assert_eq!(size("tcp_sock", member), 4, "{member}");
        }

        let tgid = offset("task_struct", "tgid");
        assert_eq!(tgid, offset("task_struct", "pid") + 4);
        assert_eq!(size("task_struct", "comm"), 16);
        let se = offset("task_struct", "se");
        let runtime = offset("sched_entity", "sum_exec_runtime");
        assert_eq!(offset("task_struct", "se.sum_exec_runtime"), se + runtime);
        assert_eq!(size("task_struct", "se.sum_exec_runtime"), 8);
        match btf.offset("task_struct", "sched_info.run_delay") {
            Ok(run_delay) => assert_eq!(run_delay, offset("task_struct", "sched_info") + 8),
            // Without CONFIG_SCHED_INFO the struct is empty.
            Err(error) => {
                assert!(matches!(error, BtfError::NoMember(..)));
                eprintln!("not in this kernel: {error}");
            }
        }

        if cfg!(target_arch = "x86_64") {
            // The ABI of ptrace fixes these.
            assert_eq!(offset("pt_regs", "di"), 112);
            assert_eq!(offset("pt_regs", "si"), 104);
            assert_eq!(offset("pt_regs", "orig_ax"), 120);
        }

        let args = |name| btf.tracepoint_args(name).unwrap();
        assert_eq!(args("sock_recv_length"), args("sock_send_length"));
        assert_eq!(args("sock_recv_length"), ["struct sock *", "int", "int"]);
        assert_eq!(args("sk_data_ready"), ["const struct sock *"]);
        let set_state = ["const struct sock *", "const int", "const int"];
        assert_eq!(args("inet_sock_set_state"), set_state);
        // A fourth, the state of the previous task, came with Linux 5.18.
        let switch = ["bool", "struct task_struct *", "struct task_struct *"];
        assert_eq!(args("sched_switch")[..3], switch);
        let fork = ["struct task_struct *", "struct task_struct *"];
        assert_eq!(args("sched_process_fork"), fork);
        let exec = ["struct task_struct *", "pid_t", "struct linux_binprm *"];
        assert_eq!(args("sched_process_exec"), exec);

        let args = |name| btf.function_args(name).unwrap();
        assert_eq!(args("tcp_sendmsg"), ["struct sock *", "struct msghdr *", "size_t"]);
        assert_eq!(args("sock_def_readable"), ["struct sock *"]);
    }
}
