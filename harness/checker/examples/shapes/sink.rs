//! Histories as files: our own format, and plain operations.

use std::io::{self, Write};

use clap::ValueEnum;

use crate::operation::{Answer, Operation, Request, Value};
use crate::shape::Shape;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// history.jsonl: a header, then two events an operation
    History,
    /// One operation a line, with its call and return, in order of completion
    Operations,
}

/// Where a simulation writes to, as it goes.
pub(crate) struct Sink<W> {
    format: Format,
    out: W,
    index: u64,
}

impl<W: Write> Sink<W> {
    pub(crate) fn new(format: Format, shape: &Shape, mut out: W) -> io::Result<Sink<W>> {
        if format == Format::History {
            let (model, seed) = (shape.workload.model(), shape.seed);
            writeln!(
                out,
                r#"{{"history":1,"workload":"{shape}","model":"{model}","seed":{seed},"nodes":1}}"#
            )?;
        }
        Ok(Sink { format, out, index: 0 })
    }

    pub(crate) fn called(&mut self, op: &Operation) -> io::Result<()> {
        if self.format == Format::History {
            self.event(op, op.call, "invoke")?;
            asked(&mut self.out, op.request)?;
            writeln!(self.out, "}}")?;
        }
        Ok(())
    }

    pub(crate) fn done(&mut self, op: &Operation, time: u64) -> io::Result<()> {
        match self.format {
            Format::History => {
                let kind = match op.answer {
                    Answer::Unknown => "info",
                    Answer::Mismatch | Answer::Found(_) => "fail",
                    Answer::Done | Answer::Value(_) | Answer::List(_) => "ok",
                };
                self.event(op, time, kind)?;
                match &op.answer {
                    Answer::Unknown | Answer::Done | Answer::Mismatch => {
                        asked(&mut self.out, op.request)?;
                    }
                    Answer::Value(_) | Answer::List(_) | Answer::Found(_) => {
                        answered(&mut self.out, &op.answer)?;
                    }
                }
                match op.answer {
                    Answer::Mismatch | Answer::Found(_) => {
                        writeln!(self.out, r#","error":"mismatch"}}"#)
                    }
                    Answer::Unknown => writeln!(self.out, r#","error":"timeout"}}"#),
                    Answer::Done | Answer::Value(_) | Answer::List(_) => writeln!(self.out, "}}"),
                }
            }
            Format::Operations => self.operation(op, time),
        }
    }

    fn event(&mut self, op: &Operation, time: u64, kind: &str) -> io::Result<()> {
        let (index, process, f, key) = (self.index, op.process, op.request.f(), op.key);
        self.index += 1;
        write!(
            self.out,
            r#"{{"index":{index},"time":{time},"process":{process},"type":"{kind}","f":"{f}","key":"k{key}","value":"#
        )
    }

    fn operation(&mut self, op: &Operation, time: u64) -> io::Result<()> {
        let (process, f, key, call) = (op.process, op.request.f(), op.key, op.call);
        write!(self.out, r#"{{"process":{process},"f":"{f}","key":"k{key}","value":"#)?;
        match (&op.answer, op.request) {
            (Answer::Value(_) | Answer::List(_), _) => answered(&mut self.out, &op.answer)?,
            (Answer::Unknown | Answer::Done | Answer::Mismatch | Answer::Found(_), request) => {
                asked(&mut self.out, request)?;
            }
        }
        match op.answer {
            Answer::Mismatch => write!(self.out, r#","type":"fail","error":"mismatch""#)?,
            Answer::Found(_) => {
                write!(self.out, r#","type":"fail","error":"mismatch","result":"#)?;
                answered(&mut self.out, &op.answer)?;
            }
            Answer::Unknown => return writeln!(self.out, r#","type":"info","call":{call}}}"#),
            Answer::Done | Answer::Value(_) | Answer::List(_) => {}
        }
        writeln!(self.out, r#","call":{call},"return":{time}}}"#)
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn asked(out: &mut impl Write, request: Request) -> io::Result<()> {
    match request {
        Request::Read => write!(out, "null"),
        Request::Write(value) | Request::Append(value) => write!(out, r#""{value}""#),
        Request::Cas { expect, new } => {
            write!(out, "[")?;
            optional(out, expect)?;
            write!(out, r#","{new}"]"#)
        }
    }
}

fn answered(out: &mut impl Write, answer: &Answer) -> io::Result<()> {
    match answer {
        Answer::Unknown | Answer::Done | Answer::Mismatch => write!(out, "null"),
        Answer::Value(value) => optional(out, *value),
        Answer::List(list) => {
            write!(out, "[")?;
            for (number, value) in list.iter().enumerate() {
                write!(out, r#"{}"{value}""#, if number > 0 { "," } else { "" })?;
            }
            write!(out, "]")
        }
        Answer::Found(found) => {
            write!(out, r#"{{"actual":"#)?;
            optional(out, *found)?;
            write!(out, "}}")
        }
    }
}

fn optional(out: &mut impl Write, value: Option<Value>) -> io::Result<()> {
    match value {
        Some(value) => write!(out, r#""{value}""#),
        None => write!(out, "null"),
    }
}
