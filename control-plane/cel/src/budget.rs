//! What evaluations may cost. Costs are upstream's (`cel-go/interpreter/runtimecost.go`, `apiserver/pkg/cel/library/cost.go`), and a sixteenth for
//! each constant, element or character that upstream does not count: so whatever an expression makes the evaluator do is paid for before it is done.

use crate::error::EvalError;

/// The most that one evaluation may cost (`PerCallLimit`, "roughly 0.1 second").
pub const PER_CALL_LIMIT: u64 = 1_000_000;
/// The most that all rules of one object or one policy binding may cost (`RuntimeCELCostBudget`).
pub const OBJECT_LIMIT: u64 = 10_000_000;
/// The most that match conditions of one object may cost (`RuntimeCELCostBudgetMatchConditions`).
pub const MATCH_CONDITIONS_LIMIT: u64 = 2_500_000;

/// Evaluations within evaluations (a variable of a policy that uses another …).
const MAX_NESTING: u32 = 64;

const UNIT: u64 = 16;

/// What is left for the evaluations that share it.
#[derive(Debug)]
pub struct Budget {
    /// In sixteenths.
    left: u64,
    /// Of the running evaluation, in sixteenths.
    call: u64,
    nesting: u32,
}

impl Budget {
    pub fn new(cost: u64) -> Self {
        Self { left: cost.saturating_mul(UNIT), call: 0, nesting: 0 }
    }

    /// What is left.
    pub fn left(&self) -> u64 {
        self.left / UNIT
    }

    /// Pays for something of upstream's cost.
    pub fn charge(&mut self, cost: u64) -> Result<(), EvalError> {
        self.pay(cost.saturating_mul(UNIT))
    }

    /// Pays for work on so many small things that upstream does not count.
    pub fn work(&mut self, things: usize) -> Result<(), EvalError> {
        self.pay(things as u64)
    }

    /// Pays for going through so many characters (`StringTraversalCostFactor`: a tenth each).
    pub fn traverse(&mut self, characters: usize) -> Result<(), EvalError> {
        self.charge(tenth(characters))?;
        self.work(1)
    }

    fn pay(&mut self, sixteenths: u64) -> Result<(), EvalError> {
        self.call = self.call.saturating_add(sixteenths);
        if self.call > PER_CALL_LIMIT * UNIT {
            self.left = self.left.saturating_sub(sixteenths);
            return Err(EvalError::CostExceeded);
        }
        match self.left.checked_sub(sixteenths) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => {
                self.left = 0;
                Err(EvalError::BudgetExceeded)
            }
        }
    }

    /// An evaluation begins, perhaps within another. Answers what [`Budget::leave`] wants back.
    pub(crate) fn enter(&mut self) -> Result<u64, EvalError> {
        if self.nesting >= MAX_NESTING {
            return Err(EvalError::other(format!("more than {MAX_NESTING} variables refer to each other")));
        }
        self.nesting += 1;
        Ok(std::mem::take(&mut self.call))
    }

    pub(crate) fn leave(&mut self, outer: u64) {
        self.nesting -= 1;
        self.call = outer;
    }
}

/// A tenth, rounded up.
pub(crate) fn tenth(characters: usize) -> u64 {
    (characters as u64).div_ceil(10)
}
