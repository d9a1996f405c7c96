//! Compiled patterns: how much memory and time they may take.
//!
//! A text is first asked of a lazy automaton, where a character is one step once its state is made. Making states is bounded: an automaton that
//! throws them away as fast as it makes them gives up, and the text is asked of all states of the pattern at once, at their full price.

use super::syntax::{class_steps, translate};
use crate::budget::Budget;
use crate::error::EvalError;
use regex_automata::hybrid::dfa::{self, DFA};
use regex_automata::nfa::thompson::pikevm::PikeVM;
use regex_automata::nfa::thompson::{NFA, WhichCaptures};
use regex_automata::util::pool::Pool;
use regex_automata::{Input, MatchKind};
use regex_syntax::hir::{Hir, HirKind};
use std::collections::HashMap;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of a pattern's program.
const MAX_SIZE: usize = 256 << 10;
/// Bytes of a pattern's source.
const MAX_SOURCE: usize = 16 << 10;
/// Groups in groups.
const MAX_NESTING: u32 = 64;
/// Steps that making classes may take ([`class_steps`]).
const MAX_CLASSES: u64 = 4_000_000;
/// Bytes of states that an automaton keeps for each thread that asks it.
const CACHE: usize = 64 << 10;
/// Characters of a text for which states are expected to be made; later ones meet those that are there.
const NEW_STATES: usize = 256;

type Caches = Pool<dfa::Cache, Box<dyn Fn() -> dfa::Cache + Send + Sync + UnwindSafe + RefUnwindSafe>>;

/// A compiled pattern.
#[derive(Debug)]
pub struct Pattern {
    /// `None` for the few that no automaton can be made of.
    automaton: Option<(DFA, Caches)>,
    machine: PikeVM,
    /// Bytes of its source.
    length: usize,
    /// States that it can be in at once, roughly: what one character of text can cost.
    weight: usize,
}

/// Why a pattern is none.
enum Fault {
    Wrong(String),
    Large,
}

impl Fault {
    fn text(self) -> String {
        match self {
            Self::Wrong(why) => format!("error parsing regexp: {}", why.lines().last().unwrap_or_default().trim_start_matches("error: ")),
            Self::Large => "error parsing regexp: the compiled pattern is too large".to_owned(),
        }
    }
}

impl Pattern {
    /// Why not, in words for the client.
    pub fn new(source: &str) -> Result<Self, String> {
        Self::within(source, MAX_SIZE)
    }

    /// One that may take more bytes than those of expressions.
    pub fn within(source: &str, max_size: usize) -> Result<Self, String> {
        read(source).and_then(|hir| Self::of(source, &hir, max_size)).map_err(Fault::text)
    }

    /// One that an evaluation makes: pays for reading its classes and for its size.
    pub(super) fn paid(source: &str, budget: &mut Budget) -> Result<Self, EvalError> {
        let wrong = |fault: Fault| EvalError::Other(fault.text());
        let translated = source_of(source).map_err(wrong)?;
        let (ast, steps) = syntax_tree(&translated).map_err(wrong)?;
        budget.charge(steps / 100)?;
        let hir = expression(&translated, &ast).map_err(wrong)?;
        let made = Self::of(source, &hir, MAX_SIZE);
        let size = match &made {
            Ok(pattern) => pattern.machine.get_nfa().memory_usage(),
            Err(Fault::Large) => MAX_SIZE,
            Err(Fault::Wrong(_)) => 0,
        };
        budget.charge((size / 16) as u64)?;
        made.map_err(wrong)
    }

    fn of(source: &str, hir: &Hir, max_size: usize) -> Result<Self, Fault> {
        let config = NFA::config().nfa_size_limit(Some(max_size)).which_captures(WhichCaptures::Implicit);
        let nfa = NFA::compiler().configure(config).build_from_hir(hir);
        let nfa = nfa.map_err(|e| if e.size_limit().is_some() { Fault::Large } else { Fault::Wrong(e.to_string()) })?;
        // Too small for the largest patterns, it grows to the least that they need.
        let config = DFA::config()
            .match_kind(MatchKind::LeftmostFirst)
            .cache_capacity(CACHE)
            .skip_cache_capacity_check(true)
            .minimum_cache_clear_count(Some(2));
        let automaton = DFA::builder().configure(config).build_from_nfa(nfa.clone()).ok().map(|automaton| {
            let made = automaton.clone();
            (automaton, Pool::new(Box::new(move || made.create_cache()) as Box<_>))
        });
        let machine = PikeVM::new_from_nfa(nfa).map_err(|e| Fault::Wrong(e.to_string()))?;
        Ok(Self { automaton, machine, length: source.len(), weight: usize::try_from(weight(hir)).unwrap_or(usize::MAX) })
    }

    /// Bytes of its source.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// Bytes that it keeps, with the states that it makes on two threads.
    fn size(&self) -> usize {
        self.machine.get_nfa().memory_usage() * 2 + 2 * CACHE
    }

    /// Whether the text has a match. For those outside of expressions (`pattern` of a schema).
    pub fn is_match(&self, text: &str) -> bool {
        self.quick(text).unwrap_or_else(|| self.machine.is_match(&mut self.machine.create_cache(), text))
    }

    /// Whether the text has a match, of the automaton; `None`: it does not tell.
    fn quick(&self, text: &str) -> Option<bool> {
        let (automaton, caches) = self.automaton.as_ref()?;
        let found = automaton.try_search_fwd(&mut caches.get(), &Input::new(text).earliest(true));
        found.ok().map(|end| end.is_some())
    }

    /// Pays for asking all states about so many characters.
    fn pay(&self, characters: usize, budget: &mut Budget) -> Result<(), EvalError> {
        budget.work(characters.saturating_mul(self.weight))
    }

    /// Whether the text has a match. Pays for a step a character and, should the automaton give up, for all states.
    pub(super) fn matches(&self, text: &str, budget: &mut Budget) -> Result<bool, EvalError> {
        budget.work(text.len())?;
        self.pay(text.len().min(NEW_STATES) / 16 + 1, budget)?;
        if let Some(found) = self.quick(text) {
            return Ok(found);
        }
        self.pay(text.len(), budget)?;
        Ok(self.machine.is_match(&mut self.machine.create_cache(), text))
    }

    /// The first match; empty if there is none.
    pub(super) fn find<'t>(&self, text: &'t str, budget: &mut Budget) -> Result<&'t str, EvalError> {
        self.pay(text.len() + 1, budget)?;
        let found = self.machine.find(&mut self.machine.create_cache(), text);
        Ok(found.map_or("", |found| &text[found.range()]))
    }

    /// The first so many matches.
    pub(super) fn find_all<'t>(&self, text: &'t str, limit: usize, budget: &mut Budget) -> Result<Vec<&'t str>, EvalError> {
        self.pay(text.len() + 1, budget)?;
        let mut cache = self.machine.create_cache();
        let mut all = Vec::new();
        for found in self.machine.find_iter(&mut cache, text).take(limit) {
            // Each search may have gone through the rest of the text.
            self.pay((text.len() - found.start()) / 16 + 1, budget)?;
            all.push(&text[found.range()]);
        }
        Ok(all)
    }
}

fn source_of(source: &str) -> Result<String, Fault> {
    if source.len() > MAX_SOURCE {
        return Err(Fault::Wrong(format!("expression is longer than {MAX_SOURCE} bytes")));
    }
    Ok(translate(source))
}

/// With the steps that its classes take.
fn syntax_tree(translated: &str) -> Result<(regex_syntax::ast::Ast, u64), Fault> {
    let mut parser = regex_syntax::ast::parse::ParserBuilder::new().nest_limit(MAX_NESTING).build();
    let ast = parser.parse(translated).map_err(|e| Fault::Wrong(regex_syntax::Error::from(e).to_string()))?;
    let steps = class_steps(&ast);
    if steps > MAX_CLASSES { Err(Fault::Large) } else { Ok((ast, steps)) }
}

fn expression(translated: &str, ast: &regex_syntax::ast::Ast) -> Result<Hir, Fault> {
    let translated = regex_syntax::hir::translate::Translator::new().translate(translated, ast);
    translated.map_err(|e| Fault::Wrong(regex_syntax::Error::from(e).to_string()))
}

fn read(source: &str) -> Result<Hir, Fault> {
    let translated = source_of(source)?;
    let (ast, _) = syntax_tree(&translated)?;
    expression(&translated, &ast)
}

/// Sum of all characters and classes, repetitions multiplied out.
fn weight(hir: &Hir) -> u64 {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => 1,
        HirKind::Literal(literal) => literal.0.len() as u64,
        HirKind::Class(_) => 2,
        HirKind::Repetition(repetition) => {
            let times = u64::from(repetition.max.unwrap_or(repetition.min.saturating_add(1)).max(1));
            weight(&repetition.sub).saturating_mul(times)
        }
        HirKind::Capture(capture) => weight(&capture.sub).saturating_add(1),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().map(weight).fold(0, u64::saturating_add),
    }
}

/// Compiled patterns of programs that live together (all rules of a schema): each once, and a bound for the memory of all.
#[derive(Clone, Debug)]
pub struct Patterns(Arc<Mutex<Known>>);

#[derive(Debug)]
struct Known {
    patterns: HashMap<String, Arc<Pattern>>,
    /// Bytes.
    left: usize,
}

impl Patterns {
    /// That may take so many bytes together.
    pub fn within(bytes: usize) -> Self {
        Self(Arc::new(Mutex::new(Known { patterns: HashMap::new(), left: bytes })))
    }

    /// The pattern of a source, in at most so many bytes. Why not, in words for the client.
    pub fn get(&self, source: &str, max_size: usize) -> Result<Arc<Pattern>, String> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pattern) = known.patterns.get(source) {
            return Ok(pattern.clone());
        }
        let pattern = Arc::new(Pattern::within(source, max_size)?);
        known.left = known.left.checked_sub(pattern.size()).ok_or("all patterns together need too much memory")?;
        known.patterns.insert(source.to_owned(), pattern.clone());
        Ok(pattern)
    }

    /// One of an expression.
    pub(crate) fn of_expression(&self, source: &str) -> Result<Arc<Pattern>, String> {
        self.get(source, MAX_SIZE)
    }
}

impl Default for Patterns {
    /// For one expression, or a few: 16 MiB.
    fn default() -> Self {
        Self::within(16 << 20)
    }
}
