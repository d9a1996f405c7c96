//! From words to a tree. Nothing is deeper than [`MAX_HEIGHT`], so that whatever goes through the tree needs only so much stack.

use crate::ast::{Expr, ExprKind, Select};
use crate::error::Issue;
use crate::escape::is_reserved;
use crate::lexer::{Spanned, Token, lex};
use crate::macros;

/// Levels of an expression (cel-go's recursion limit).
pub const MAX_HEIGHT: u16 = 250;
/// Characters of an expression (cel-go's limit).
pub const MAX_LENGTH: usize = 100_000;

const OPERAND: &str = "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}";

/// The tree of a source.
pub fn parse(source: &str) -> Result<Expr, Vec<Issue>> {
    let length = source.chars().count();
    if length > MAX_LENGTH {
        let message = format!("expression code point size exceeds limit: size: {length}, limit {MAX_LENGTH}");
        return Err(vec![Issue::at(source, 0, message)]);
    }
    let words = lex(source).map_err(|issue| vec![issue])?;
    let mut parser = Parser { source, words, next: 0, depth: 0 };
    let expr = parser.expr().map_err(|issue| vec![issue])?;
    if *parser.peek() != Token::End {
        return Err(vec![parser.unexpected("<EOF>")]);
    }
    Ok(expr)
}

pub(crate) struct Parser<'s> {
    source: &'s str,
    words: Vec<Spanned>,
    next: usize,
    depth: u16,
}

type Parsed<T = Expr> = Result<T, Issue>;

/// Operators of two operands by how strongly they bind.
const LEVELS: &[&[(&str, &str)]] = &[
    &[("==", "_==_"), ("!=", "_!=_"), ("<=", "_<=_"), (">=", "_>=_"), ("<", "_<_"), (">", "_>_"), ("in", "@in")],
    &[("+", "_+_"), ("-", "_-_")],
    &[("*", "_*_"), ("/", "_/_"), ("%", "_%_")],
];

impl Parser<'_> {
    fn peek(&self) -> &Token {
        &self.words[self.next.min(self.words.len() - 1)].token
    }

    /// Where the next word is.
    fn place(&self) -> usize {
        self.words[self.next.min(self.words.len() - 1)].start
    }

    fn advance(&mut self) -> Token {
        let token = self.peek().clone();
        self.next += 1;
        token
    }

    fn is(&self, sign: &str) -> bool {
        matches!(self.peek(), Token::Sign(found) if *found == sign)
            || matches!(self.peek(), Token::Ident(found) if found == sign && sign == "in")
    }

    /// Takes the sign if it is next.
    fn take(&mut self, sign: &str) -> bool {
        let found = self.is(sign);
        self.next += usize::from(found);
        found
    }

    fn need(&mut self, sign: &str) -> Parsed<()> {
        if self.take(sign) { Ok(()) } else { Err(self.unexpected(&format!("'{sign}'"))) }
    }

    fn unexpected(&self, expected: &str) -> Issue {
        let word = &self.words[self.next.min(self.words.len() - 1)];
        let found = if word.token == Token::End { "<EOF>" } else { &self.source[word.start..word.end] };
        let what = if expected == "<EOF>" && word.token != Token::End { "extraneous" } else { "mismatched" };
        self.issue(word.start, format!("Syntax error: {what} input '{found}' expecting {expected}"))
    }

    pub(crate) fn issue(&self, at: usize, message: String) -> Issue {
        Issue::at(self.source, at, message)
    }

    /// A node over others, unless the tree would be too high.
    pub(crate) fn node(&self, at: usize, below: u16, kind: ExprKind) -> Parsed {
        if below >= MAX_HEIGHT {
            return Err(self.issue(at, format!("Syntax error: expression recursion limit exceeded: {MAX_HEIGHT}")));
        }
        #[allow(clippy::cast_possible_truncation, reason = "sources have at most MAX_LENGTH characters")]
        Ok(Expr { at: at as u32, height: below + 1, kind })
    }

    pub(crate) fn call(&self, at: usize, target: Option<Expr>, function: &str, args: Vec<Expr>) -> Parsed {
        let below = args.iter().chain(&target).map(|arg| arg.height).max().unwrap_or(0);
        self.node(at, below, ExprKind::Call { target: target.map(Box::new), function: function.to_owned(), args })
    }

    fn expr(&mut self) -> Parsed {
        self.depth += 1;
        if self.depth > MAX_HEIGHT {
            return Err(self.issue(self.place(), format!("Syntax error: expression recursion limit exceeded: {MAX_HEIGHT}")));
        }
        let condition = self.or()?;
        let at = self.place();
        let whole = if self.take("?") {
            let yes = self.or()?;
            self.need(":")?;
            let no = self.expr()?;
            self.call(at, None, "_?_:_", vec![condition, yes, no])
        } else {
            Ok(condition)
        };
        self.depth -= 1;
        whole
    }

    fn or(&mut self) -> Parsed {
        let at = self.place();
        let mut all = vec![self.and()?];
        let mut sign = at;
        while self.is("||") {
            sign = self.place();
            self.next += 1;
            all.push(self.and()?);
        }
        self.joined(sign, all, ExprKind::Or)
    }

    fn and(&mut self) -> Parsed {
        let at = self.place();
        let mut all = vec![self.binary(0)?];
        let mut sign = at;
        while self.is("&&") {
            sign = self.place();
            self.next += 1;
            all.push(self.binary(0)?);
        }
        self.joined(sign, all, ExprKind::And)
    }

    fn joined(&self, at: usize, mut all: Vec<Expr>, kind: fn(Vec<Expr>) -> ExprKind) -> Parsed {
        match all.pop() {
            Some(only) if all.is_empty() => Ok(only),
            last => {
                all.extend(last);
                let below = all.iter().map(|expr| expr.height).max().unwrap_or(0);
                self.node(at, below, kind(all))
            }
        }
    }

    fn binary(&mut self, level: usize) -> Parsed {
        let Some(operators) = LEVELS.get(level) else { return self.unary() };
        let mut left = self.binary(level + 1)?;
        while let Some((_, function)) = operators.iter().find(|(sign, _)| self.is(sign)) {
            let at = self.place();
            self.next += 1;
            let right = self.binary(level + 1)?;
            left = self.call(at, None, function, vec![left, right])?;
        }
        Ok(left)
    }

    fn unary(&mut self) -> Parsed {
        for (sign, function) in [("!", "!_"), ("-", "-_")] {
            if !self.is(sign) {
                continue;
            }
            let at = self.place();
            let from = self.next;
            while self.take(sign) {}
            // A sign right before a number is the number's.
            if sign == "-" && matches!(self.peek(), Token::Int(_) | Token::Double(_)) {
                self.next -= 1;
            }
            let odd = (self.next - from) % 2 == 1;
            let operand = self.member()?;
            return if odd { self.call(at, None, function, vec![operand]) } else { Ok(operand) };
        }
        self.member()
    }

    fn member(&mut self) -> Parsed {
        let mut whole = self.primary()?;
        loop {
            let at = self.place();
            if self.take(".") {
                let optional = self.take("?");
                let field = match self.advance() {
                    Token::Ident(name) if name != "in" && !matches!(name.as_str(), "true" | "false" | "null") => name,
                    _ => {
                        self.next -= 1;
                        return Err(self.unexpected("IDENTIFIER"));
                    }
                };
                let open = self.place();
                whole = if !optional && self.take("(") {
                    let args = self.list_until(")")?;
                    match macros::member(self, open, whole, &field, args)? {
                        macros::Expanded::Macro(expr) => expr,
                        macros::Expanded::Call(target, args) => self.call(open, Some(target), &field, args)?,
                    }
                } else {
                    let how = if optional { Select::Optional } else { Select::Value };
                    let below = whole.height;
                    self.node(at, below, ExprKind::Select { operand: Box::new(whole), field, how })?
                };
            } else if self.take("[") {
                let function = if self.take("?") { "_[?_]" } else { "_[_]" };
                let index = self.expr()?;
                self.need("]")?;
                whole = self.call(at, None, function, vec![whole, index])?;
            } else if self.is("{") {
                let Some(name) = qualified(&whole) else { return Ok(whole) };
                self.next += 1;
                whole = self.structure(at, name)?;
            } else {
                return Ok(whole);
            }
        }
    }

    fn primary(&mut self) -> Parsed {
        let at = self.place();
        let kind = match self.advance() {
            Token::Sign("(") => {
                let inner = self.expr()?;
                self.need(")")?;
                return Ok(inner);
            }
            Token::Sign("[") => {
                let items = self.items("]")?;
                let below = items.iter().map(|(item, _)| item.height).max().unwrap_or(0);
                return self.node(at, below, ExprKind::List(items));
            }
            Token::Sign("{") => {
                let entries = self.entries()?;
                let below = entries.iter().map(|(key, value, _)| key.height.max(value.height)).max().unwrap_or(0);
                return self.node(at, below, ExprKind::Map(entries));
            }
            Token::Sign(".") => match self.advance() {
                Token::Ident(name) => return self.named(at, name),
                _ => {
                    self.next -= 1;
                    return Err(self.unexpected("IDENTIFIER"));
                }
            },
            Token::Sign("-") => match self.advance() {
                Token::Int(text) => ExprKind::Int(self.int(at, &format!("-{text}"))?),
                Token::Double(text) => ExprKind::Double(self.double(at, &format!("-{text}"))?),
                _ => {
                    self.next -= 1;
                    return Err(self.unexpected(OPERAND));
                }
            },
            Token::Int(text) => ExprKind::Int(self.int(at, &text)?),
            Token::Uint(text) => {
                let parsed = text.strip_prefix("0x").map_or_else(|| text.parse(), |hex| u64::from_str_radix(hex, 16));
                ExprKind::Uint(parsed.map_err(|_| self.issue(at, "invalid uint literal".to_owned()))?)
            }
            Token::Double(text) => ExprKind::Double(self.double(at, &text)?),
            Token::String(text) => ExprKind::String(text),
            Token::Bytes(bytes) => ExprKind::Bytes(bytes),
            Token::Ident(name) => return self.named(at, name),
            _ => {
                self.next -= 1;
                return Err(self.unexpected(OPERAND));
            }
        };
        self.node(at, 0, kind)
    }

    fn named(&mut self, at: usize, name: String) -> Parsed {
        match name.as_str() {
            "true" | "false" => return self.node(at, 0, ExprKind::Bool(name == "true")),
            "null" => return self.node(at, 0, ExprKind::Null),
            "in" => {
                self.next -= 1;
                return Err(self.unexpected(OPERAND));
            }
            _ if is_reserved(&name) => return Err(self.issue(at, format!("reserved identifier: {name}"))),
            _ => {}
        }
        let open = self.place();
        if !self.take("(") {
            return self.node(at, 0, ExprKind::Ident(name));
        }
        let args = self.list_until(")")?;
        match macros::global(self, open, &name, args)? {
            Ok(expanded) => Ok(expanded),
            Err(args) => self.call(open, None, &name, args),
        }
    }

    fn int(&self, at: usize, text: &str) -> Parsed<i64> {
        let (sign, digits) = text.strip_prefix('-').map_or(("", text), |digits| ("-", digits));
        let parsed = digits.strip_prefix("0x").map_or_else(|| text.parse(), |hex| i64::from_str_radix(&format!("{sign}{hex}"), 16));
        parsed.map_err(|_| self.issue(at, "invalid int literal".to_owned()))
    }

    fn double(&self, at: usize, text: &str) -> Parsed<f64> {
        text.parse().ok().filter(|f: &f64| f.is_finite()).ok_or_else(|| self.issue(at, "invalid double literal".to_owned()))
    }

    fn list_until(&mut self, close: &str) -> Parsed<Vec<Expr>> {
        let mut all = Vec::new();
        if self.take(close) {
            return Ok(all);
        }
        loop {
            all.push(self.expr()?);
            if !self.take(",") {
                self.need(close)?;
                return Ok(all);
            }
        }
    }

    fn items(&mut self, close: &str) -> Parsed<Vec<(Expr, bool)>> {
        let mut all = Vec::new();
        while !self.take(close) {
            let optional = self.take("?");
            all.push((self.expr()?, optional));
            if !self.take(",") {
                self.need(close)?;
                break;
            }
        }
        Ok(all)
    }

    fn entries(&mut self) -> Parsed<Vec<(Expr, Expr, bool)>> {
        let mut all = Vec::new();
        while !self.take("}") {
            let optional = self.take("?");
            let key = self.expr()?;
            self.need(":")?;
            all.push((key, self.expr()?, optional));
            if !self.take(",") {
                self.need("}")?;
                break;
            }
        }
        Ok(all)
    }

    fn structure(&mut self, at: usize, name: String) -> Parsed {
        let mut fields = Vec::new();
        while !self.take("}") {
            let optional = self.take("?");
            let Token::Ident(field) = self.advance() else {
                self.next -= 1;
                return Err(self.unexpected("IDENTIFIER"));
            };
            self.need(":")?;
            fields.push((field, self.expr()?, optional));
            if !self.take(",") {
                self.need("}")?;
                break;
            }
        }
        let below = fields.iter().map(|(_, value, _)| value.height).max().unwrap_or(0);
        self.node(at, below, ExprKind::Struct { name, fields })
    }
}

/// `a.b.c` as one name.
pub(crate) fn qualified(expr: &Expr) -> Option<String> {
    match &expr.kind {
        ExprKind::Ident(name) => Some(name.clone()),
        ExprKind::Select { operand, field, how: Select::Value } => Some(format!("{}.{field}", qualified(operand)?)),
        _ => None,
    }
}
