//! What is needed to turn the values of a document into numbers: constants, positions in the text, errors.
//! Invariant: every number that leaves here is finite and below [`MAGNITUDE_MAX`] in magnitude.

use super::document::Document;
use super::error::{Fault, SceneError, excerpt};
use super::expression::{ExpressionError, Node, Scope, is_reserved, parse};
use super::forms::AxisForm;
use super::limits::{CONSTANTS_MAX, MAGNITUDE_MAX};
use super::quantity::{PerAxis, Quantity};
use super::source::Source;
use super::survey::BadNode;
use nikola_components::geometry::axis::Axis;
use nikola_components::torus::Torus;
use std::collections::BTreeMap;

/// Constants and text of one scene.
pub struct Context<'a> {
    source: &'a Source,
    constants: BTreeMap<String, f64>,
}

/// Which variables an expression may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// Constants only.
    Constants,
    /// Positions too.
    Space,
    /// Positions and time.
    SpaceTime,
    /// Time only.
    Time,
    /// Positions, time and Ψ.
    Everything,
}

/// The axis a form names.
pub fn axis_of(form: AxisForm) -> Axis {
    Axis::ALL[form as usize]
}

impl<'a> Context<'a> {
    /// Evaluates the scene's named constants.
    ///
    /// # Errors
    /// A constant with a reserved or repeated name, or whose expression is wrong.
    pub fn new(source: &'a Source, document: &Document) -> Result<Self, SceneError> {
        let mut context = Self { source, constants: BTreeMap::new() };
        let constants = &document.constants.0;
        if constants.len() > CONSTANTS_MAX {
            return Err(context.value(
                "constants",
                format!("{} constants", constants.len()),
                format!("at most {CONSTANTS_MAX}"),
                "remove those that are not used",
            ));
        }
        for (name, quantity) in constants {
            let path = format!("constants.{name}");
            if is_reserved(name) {
                return Err(context.value(
                    &path,
                    format!("a constant named `{name}`"),
                    "a name that is not a coordinate, a function or a built-in constant",
                    format!("rename it, e.g. `{name}0`"),
                ));
            }
            let number = context.number(quantity, &path)?;
            if context.constants.insert(name.clone(), number).is_some() {
                return Err(context.value(
                    &path,
                    format!("`{name}` a second time"),
                    "each constant once",
                    "remove or rename one of the two",
                ));
            }
        }
        Ok(context)
    }

    /// Makes L_x, N_x and dt known to the expressions that follow.
    pub fn define_torus(&mut self, torus: &Torus, dt: f64) {
        for axis in Axis::ALL {
            self.constants.insert(format!("L_{}", axis.name()), torus.lengths()[axis.index()]);
            self.constants.insert(format!("N_{}", axis.name()), torus.extents()[axis.index()] as f64);
        }
        self.constants.insert("dt".into(), dt);
    }

    /// An error about the value of a field.
    pub fn value(
        &self,
        path: &str,
        found: impl Into<String>,
        expected: impl Into<String>,
        remedy: impl Into<String>,
    ) -> SceneError {
        SceneError::Value { fault: Box::new(self.fault(path, found, expected, remedy)) }
    }

    /// Place and text of an error.
    pub fn fault(
        &self,
        path: &str,
        found: impl Into<String>,
        expected: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Fault {
        Fault {
            place: self.source.place(path),
            found: found.into(),
            expected: expected.into(),
            remedy: remedy.into(),
        }
    }

    /// An error inside an expression.
    pub fn expression_error(&self, path: &str, error: ExpressionError) -> SceneError {
        SceneError::Expression {
            fault: Box::new(self.fault(path, error.found, error.expected, error.remedy)),
            text: error.text,
            column: error.column,
        }
    }

    /// Parses `text`, which may use `names`.
    pub fn expression(&self, text: &str, path: &str, names: Names) -> Result<Node, SceneError> {
        let scope = Scope {
            constants: &self.constants,
            has_coordinates: matches!(names, Names::Space | Names::SpaceTime | Names::Everything),
            has_time: matches!(names, Names::SpaceTime | Names::Time | Names::Everything),
            has_field: names == Names::Everything,
        };
        parse(text, scope).map_err(|error| self.expression_error(path, error))
    }

    /// A number or expression as a tree.
    pub fn node(&self, quantity: &Quantity, path: &str, names: Names) -> Result<Node, SceneError> {
        match quantity {
            Quantity::Number(value) => Ok(Node::Number(self.finite(*value, path)?)),
            Quantity::Expression(text) => self.expression(text, path, names),
        }
    }

    /// A number that does not depend on position.
    pub fn number(&self, quantity: &Quantity, path: &str) -> Result<f64, SceneError> {
        match quantity {
            Quantity::Number(value) => self.finite(*value, path),
            Quantity::Expression(text) => {
                let node = self.expression(text, path, Names::Constants)?;
                // Folded: with constants only, nothing else can remain.
                let value = node.number().unwrap_or(f64::NAN);
                if value.is_finite() && value.abs() <= MAGNITUDE_MAX {
                    return Ok(value);
                }
                Err(SceneError::Expression {
                    fault: Box::new(self.fault(
                        path,
                        format!("the value {value}"),
                        format!("a finite number, at most {MAGNITUDE_MAX:e} in magnitude"),
                        "check for a division by zero, a root or logarithm of a negative number, or an overflow",
                    )),
                    text: excerpt(text, 160),
                    column: 0,
                })
            }
        }
    }

    fn finite(&self, value: f64, path: &str) -> Result<f64, SceneError> {
        if value.is_finite() && value.abs() <= MAGNITUDE_MAX {
            return Ok(value);
        }
        Err(self.value(
            path,
            format!("{value}"),
            format!("a finite number, at most {MAGNITUDE_MAX:e} in magnitude"),
            "choose other units",
        ))
    }

    /// A number within `low ..= high`; `what` completes "expected …".
    pub fn bounded(
        &self,
        quantity: &Quantity,
        path: &str,
        low: f64,
        high: f64,
        what: &str,
    ) -> Result<f64, SceneError> {
        let value = self.number(quantity, path)?;
        if (low..=high).contains(&value) {
            return Ok(value);
        }
        let remedy = if value < low { format!("use at least {low}") } else { format!("use at most {high}") };
        Err(self.value(path, format!("{value}"), what, remedy))
    }

    /// A positive number.
    pub fn positive(&self, quantity: &Quantity, path: &str) -> Result<f64, SceneError> {
        let value = self.number(quantity, path)?;
        if value > 0.0 {
            return Ok(value);
        }
        Err(self.value(path, format!("{value}"), "a number above 0", "give it a positive value"))
    }

    /// A whole number within `low ..= high`.
    pub fn whole(&self, quantity: &Quantity, path: &str, low: i64, high: i64) -> Result<i64, SceneError> {
        let value = self.number(quantity, path)?;
        if value.fract() == 0.0 && value >= low as f64 && value <= high as f64 {
            return Ok(value as i64);
        }
        let remedy = if value.fract() != 0.0 {
            format!("round it to {}", value.round())
        } else {
            format!("choose between {low} and {high}")
        };
        Err(self.value(path, format!("{value}"), format!("a whole number from {low} to {high}"), remedy))
    }

    /// The values of named axes, as numbers.
    pub fn per_axis(
        &self,
        values: &PerAxis<Quantity>,
        path: &str,
        default: f64,
    ) -> Result<[f64; 9], SceneError> {
        let mut numbers = [default; 9];
        for axis in Axis::ALL {
            if let Some(quantity) = values.get(axis) {
                numbers[axis.index()] = self.number(quantity, &format!("{path}.{}", values.key(axis)))?;
            }
        }
        Ok(numbers)
    }

    /// The node nearest a position, 0 where an axis is not named.
    pub fn node_at(
        &self,
        position: &PerAxis<Quantity>,
        path: &str,
        torus: &Torus,
    ) -> Result<[usize; 9], SceneError> {
        let positions = self.per_axis(position, path, 0.0)?;
        Ok(core::array::from_fn(|d| {
            let extent = torus.extents()[d];
            let spacing = torus.lengths()[d] / extent as f64;
            let index = ((positions[d] + 0.5 * torus.lengths()[d]) / spacing).round();
            if extent == 1 { 0 } else { index.rem_euclid(extent as f64) as usize }
        }))
    }

    /// Refuses a named axis that has a single node.
    pub fn active(&self, values: &PerAxis<Quantity>, path: &str, torus: &Torus) -> Result<(), SceneError> {
        match Axis::ALL.into_iter().find(|axis| values.names(*axis) && torus.extents()[axis.index()] == 1) {
            None => Ok(()),
            Some(axis) => Err(self.inactive(&format!("{path}.{}", axis.name()), axis, torus)),
        }
    }

    /// The error for a profile that is no usable number at some node.
    pub fn not_finite(&self, path: &str, bad: &BadNode) -> SceneError {
        let fault = Box::new(self.fault(
            path,
            format!("{} at {}", bad.value, bad.node),
            format!("a finite number, at most {MAGNITUDE_MAX:e} in magnitude, at every node"),
            "check for a division by zero, a root or logarithm of a negative number, or an overflow; \
             if(condition, a, b) excludes a point",
        ));
        match self.source.value_text(path) {
            Some(text) => SceneError::Expression { fault, text: excerpt(text, 160), column: 0 },
            None => SceneError::Value { fault },
        }
    }

    /// The error for an axis of extent 1.
    pub fn inactive(&self, path: &str, axis: Axis, torus: &Torus) -> SceneError {
        let active: Vec<&str> =
            Axis::ALL.into_iter().filter(|axis| torus.extents()[axis.index()] > 1).map(Axis::name).collect();
        self.value(
            path,
            format!("axis {}, which has one node", axis.name()),
            format!("an axis of this torus with more than one node: {}", active.join(" ")),
            "remove it, or give the axis an extent under `torus.extents`",
        )
    }
}
