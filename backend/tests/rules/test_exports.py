"""Credential files: exact headers, readable by csv, executed by no spreadsheet."""

from __future__ import annotations

import csv
import io

import pytest

from app.rules import exports
from app.rules.exports import Credential

ANN = Credential("ann@x.com", "ann@x.com", "s3cret-Pass", "Ann", "Lee", "smtp.x.com", 587, 20)


def read(fmt: str, *credentials: Credential) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO("".join(exports.lines(fmt, credentials)))))


@pytest.mark.parametrize(
    ("fmt", "columns"),
    [("generic", 9), ("instantly", 15), ("smartlead", 19), ("salesforge", 13)],
)
def test_every_row_is_as_wide_as_its_header(fmt: str, columns: int) -> None:
    header, row = "".join(exports.lines(fmt, [ANN])).splitlines()
    assert len(next(csv.reader([header]))) == columns
    assert len(next(csv.reader([row]))) == columns


def test_the_generic_file_begins_as_promised() -> None:
    assert next(exports.lines("generic", [])).startswith("email,username,password,")


@pytest.mark.parametrize(
    ("fmt", "email", "password", "port"),
    [
        ("generic", "email", "password", "smtp_port"),
        ("instantly", "Email", "SMTP Password", "SMTP Port"),
        ("smartlead", "from_email", "password", "smtp_port"),
        ("salesforge", "address", "smtpPassword", "smtpPort"),
    ],
)
def test_cells_stand_under_their_headers(fmt: str, email: str, password: str, port: str) -> None:
    (row,) = read(fmt, ANN)
    assert (row[email], row[password], row[port]) == ("ann@x.com", "s3cret-Pass", "587")


@pytest.mark.parametrize("fmt", ["instantly", "smartlead"])
def test_engagement_warmup_is_off(fmt: str) -> None:
    (row,) = read(fmt, ANN)
    assert row["Warmup Enabled" if fmt == "instantly" else "warmup_enabled"] == "FALSE"


@pytest.mark.parametrize("first", ["=1+1", "+1", "-1", "@x", "\tx", "\rx", "＝1"])
def test_formulas_are_quoted(first: str) -> None:
    assert exports.safe_cell(first) == "'" + first


def test_commas_quotes_and_newlines_survive() -> None:
    odd = Credential("a@x.com", "a@x.com", "p", 'O"Hara, "Jr"', "line\nbreak", "h", 1, 1)
    (row,) = read("generic", odd)
    assert (row["first_name"], row["last_name"]) == ('O"Hara, "Jr"', "line\nbreak")


@pytest.mark.parametrize(
    ("fmt", "header"),
    [
        (
            "instantly",
            (
                "Email,First Name,Last Name,IMAP Username,IMAP Password,IMAP Host,IMAP Port,"
                "SMTP Username,SMTP Password,SMTP Host,SMTP Port,Daily Limit,Warmup Enabled,"
                "Warmup Limit,Warmup Increment"
            ),
        ),
        (
            "smartlead",
            (
                "from_name,from_email,user_name,password,smtp_host,smtp_port,imap_host,imap_port,"
                "max_email_per_day,custom_tracking_url,warmup_enabled,total_warmup_per_day,"
                "daily_rampup,reply_rate_percentage,bcc,signature,different_reply_to_address,"
                "imap_user_name,imap_password"
            ),
        ),
        (
            "salesforge",
            (
                "address,firstName,lastName,imapHost,imapUsername,imapPassword,imapPort,smtpHost,"
                "smtpUsername,smtpPassword,smtpPort,Signature,trackingDomain"
            ),
        ),
    ],
)
def test_the_headers_are_those_of_the_importers_to_the_letter(fmt: str, header: str) -> None:
    assert list(exports.lines(fmt, [])) == [f"{header}\r\n"]


@pytest.mark.parametrize("fmt", list(exports.FORMATS))
def test_no_cell_of_any_file_is_a_formula(fmt: str) -> None:
    evil = Credential('=cmd|"/C calc"!A0', "@SUM(1)", "+1", "-2", "\t=3", "=h", 587, 20)
    (row,) = read(fmt, evil)
    assert not [cell for cell in row.values() if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
