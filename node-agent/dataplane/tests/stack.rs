//! What the programs' functions take of the stack, read from the object file. The kernel refuses a program whose deepest chain of calls
//! takes more than 512 bytes; what a later step needs must still fit below the deepest one of today.

use object::{
    Object as _, ObjectSection as _, ObjectSymbol as _, RelocationFlags, RelocationTarget, SymbolKind,
    elf::{R_BPF_64_32, R_BPF_64_64},
};
use std::collections::{BTreeMap, BTreeSet};

static OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/programs.o"));

/// Bytes that the deepest chain may take. A function that needs more keeps its values in a place of `steps/scratch.rs`.
const BUDGET: u32 = 384;
/// Kernels round each function up to this, newer ones to half as much where they compile programs to machine code.
const GRAIN: u32 = 32;

/// Where a function begins: its section and the offset there.
type Place = (usize, u64);

struct Function {
    name: String,
    /// Bytes of its own.
    stack: u32,
    calls: BTreeSet<Place>,
}

/// One instruction of RFC 9669, section 3.
struct Instruction {
    code: u8,
    destination: usize,
    source: usize,
    offset: i16,
    immediate: i32,
}

impl Instruction {
    fn read(bytes: &[u8; 8]) -> Self {
        let &[code, registers, offset_0, offset_1, immediate @ ..] = bytes;
        let offset = i16::from_le_bytes([offset_0, offset_1]);
        let (destination, source) = (usize::from(registers & 0xf), usize::from(registers >> 4));
        Self { code, destination, source, offset, immediate: i32::from_le_bytes(immediate) }
    }

    /// The class of loads and stores whose address is a register's, and that register.
    fn base(&self) -> Option<usize> {
        match self.code & 0x07 {
            0x01 => Some(self.source),
            0x02 | 0x03 => Some(self.destination),
            _ => None,
        }
    }
}

/// The register that holds the end of the function's stack.
const FRAME: usize = 10;
const COPY: u8 = 0xbf;
const ADD: u8 = 0x07;
const CALL: u8 = 0x85;
/// The source of a call to a function of the program's own, and not of the kernel.
const PSEUDO_CALL: usize = 1;

/// Bytes of the stack that the instructions reach: by the register of the frame itself, and by what was computed from it.
fn stack_of(code: &[u8]) -> u32 {
    let mut deepest = 0;
    let mut copies = [false; 16];
    for bytes in code.as_chunks::<8>().0 {
        let instruction = Instruction::read(bytes);
        let reached = match instruction.base() {
            Some(FRAME) => i32::from(instruction.offset),
            _ if instruction.code == ADD && copies[instruction.destination] => instruction.immediate,
            _ => 0,
        };
        deepest = deepest.max(u32::try_from(-reached).unwrap_or(0));
        // Classes of loads and of computations, which write their destination.
        if matches!(instruction.code & 0x07, 0x00 | 0x01 | 0x04 | 0x07) {
            copies[instruction.destination] = instruction.code == COPY && instruction.source == FRAME;
        }
    }
    deepest
}

/// Where calls lead that the linker has finished: so many instructions on from the next one, in the same section.
fn local_calls(code: &[u8], begin: u64) -> impl Iterator<Item = u64> {
    let instructions = code.as_chunks::<8>().0.iter().map(Instruction::read);
    let calls = instructions.enumerate().filter(|(_, each)| (each.code, each.source) == (CALL, PSEUDO_CALL) && each.immediate != -1);
    calls.map(move |(index, each)| begin.strict_add_signed((index as i64 + 1 + i64::from(each.immediate)) * 8))
}

fn functions() -> BTreeMap<Place, Function> {
    let object = object::File::parse(OBJECT).unwrap();
    let mut functions = BTreeMap::new();
    for symbol in object.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.size() > 0) {
        let section = symbol.section_index().unwrap();
        let (begin, end) = (symbol.address(), symbol.address() + symbol.size());
        let content = object.section_by_index(section).unwrap();
        let code = content.data_range(begin, symbol.size()).unwrap().unwrap();
        let mut calls: BTreeSet<Place> = local_calls(code, begin).map(|place| (section.0, place)).collect();
        for (at, relocation) in content.relocations().filter(|(at, _)| (begin..end).contains(at)) {
            let RelocationTarget::Symbol(index) = relocation.target() else { continue };
            let target = object.symbol_by_index(index).unwrap();
            let Some(its_section) = target.section_index() else { continue };
            let RelocationFlags::Elf { r_type } = relocation.flags() else { continue };
            let immediate = Instruction::read(code[(at - begin) as usize..][..8].try_into().unwrap()).immediate;
            // Of a local function the symbol is its section's, and the instruction has the rest: of a call in instructions, from the next one
            // on, of an address (a callback's) in bytes.
            let rest = match r_type {
                _ if target.kind() != SymbolKind::Section => 0,
                R_BPF_64_32 => (i64::from(immediate) + 1) * 8,
                _ => i64::from(immediate),
            };
            if matches!(r_type, R_BPF_64_32 | R_BPF_64_64) {
                calls.insert((its_section.0, target.address().strict_add_signed(rest)));
            }
        }
        functions.insert((section.0, begin), Function { name: symbol.name().unwrap().to_owned(), stack: stack_of(code), calls });
    }
    functions
}

/// The deepest chain that begins at a function: bytes, and the names with what each takes.
fn deepest(functions: &BTreeMap<Place, Function>, from: Place) -> (u32, Vec<String>) {
    // Maps and constants have no code.
    let Some(function) = functions.get(&from) else { return (0, Vec::new()) };
    let (below, mut names) = function.calls.iter().map(|call| deepest(functions, *call)).max().unwrap_or_default();
    names.insert(0, format!("{} {}", function.name, function.stack));
    (function.stack.max(1).next_multiple_of(GRAIN) + below, names)
}

#[test]
fn no_chain_of_functions_takes_more_of_the_stack_than_its_share() {
    let functions = functions();
    let called: BTreeSet<Place> = functions.values().flat_map(|function| function.calls.iter().copied()).collect();
    let programs: Vec<_> = functions.keys().filter(|place| !called.contains(place)).map(|place| deepest(&functions, *place)).collect();
    for (bytes, chain) in &programs {
        println!("{bytes}: {}", chain.join(" > "));
        assert!(*bytes <= BUDGET, "{bytes} bytes of stack: {}", chain.join(" > "));
    }
    let chains = |name: &str| programs.iter().any(|(_, chain)| chain[0].starts_with(name) && chain.len() > 1);
    assert!(
        ["from_pod ", "to_pod ", "from_network ", "to_network ", "from_wire ", "connect4 "].into_iter().all(chains),
        "calls are followed"
    );
    let strays: Vec<_> = programs.iter().filter(|(_, chain)| chain[0].contains("orknet")).collect();
    assert!(strays.is_empty(), "no program calls what is not one: {strays:?}");
}

#[test]
fn stack_is_counted_by_loads_stores_and_addresses() {
    // r1 = r10; r1 += -72; *(u64 *)(r10 - 40) = r1; r2 += -200, which is no address; exit.
    let code = [
        [0xbf, 0xa1, 0, 0, 0, 0, 0, 0],
        [0x07, 0x01, 0, 0, 0xb8, 0xff, 0xff, 0xff],
        [0x7b, 0x1a, 0xd8, 0xff, 0, 0, 0, 0],
        [0x07, 0x02, 0, 0, 0x38, 0xff, 0xff, 0xff],
        [0x95, 0, 0, 0, 0, 0, 0, 0],
    ];
    assert_eq!(stack_of(&code.concat()), 72);
    assert_eq!(stack_of(&code[2..].concat()), 40);
}
