"""What invoices and statements claim to be, PDF/A-3B (ISO 19005-3) with Factur-X, and whether they are: read by a parser that others wrote.

No validator of the whole standard is here; what is looked at are the rules that a generator can break. Each is tried on a file that breaks it.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from lxml import etree
from pypdf import DocumentInformation, PdfReader, PdfWriter
from pypdf.generic import DictionaryObject, NameObject, StreamObject, TextStringObject

from chargeplane.edges.documents import DocumentPainter
from tests.invoicing.test_documents import CASES, charge, made

NS = {
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "dc": "http://purl.org/dc/elements/1.1/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "pdf": "http://ns.adobe.com/pdf/1.3/",
    "pdfaid": "http://www.aiim.org/pdfa/ns/id/",
    "pdfaExtension": "http://www.aiim.org/pdfa/ns/extension/",
    "pdfaSchema": "http://www.aiim.org/pdfa/ns/schema#",
    "pdfaProperty": "http://www.aiim.org/pdfa/ns/property#",
    "fx": "urn:factur-x:pdfa:CrossIndustryDocument:invoice:1p0#",
}
SIMPLE_PREFIXES = {NS[name] for name in ("dc", "xmp", "pdf", "pdfaid", "rdf")}


def wrong(raw: bytes, *, factur_x: bool) -> set[str]:
    """Which rules a file breaks."""
    reader = PdfReader(io.BytesIO(raw))
    root: Any = reader.trailer["/Root"]
    return {
        *_of_file(raw, reader),
        *_of_colours(root),
        *_of_fonts(reader),
        *_of_metadata(reader, root, factur_x),
        *_of_files(root, factur_x),
    }


def _of_file(raw: bytes, reader: PdfReader) -> Iterator[str]:
    # 6.1.2: after the header a comment of at least four bytes above 127.
    if not re.match(rb"%PDF-1\.[4-7]\r?\n%[\x80-\xff]{4,}", raw):
        yield "header"
    if "/ID" not in reader.trailer:  # 6.1.3
        yield "id"
    if "/Encrypt" in reader.trailer:
        yield "encrypted"
    for page in reader.pages:
        for annotation in page.get("/Annots", ()):
            said = annotation.get_object()
            # 6.3.2: shown and printed, with an appearance unless it is a link; 6.5.1: no scripts, no launching.
            if not int(said.get("/F", 0)) & 4 or ("/AP" not in said and said["/Subtype"] != "/Link"):
                yield "annotation"
            if str(said.get("/A", {}).get("/S", "/URI")) not in ("/URI", "/GoTo"):
                yield "action"
    for name in ("/AA", "/OpenAction"):
        action = reader.trailer["/Root"].get(name)  # type: ignore[union-attr]
        if isinstance(action, DictionaryObject) and action.get("/S") not in ("/GoTo", None):
            yield "action"


def _of_colours(root: Any) -> Iterator[str]:
    """6.2.3: one profile by which device colours are meant."""
    intents = [one.get_object() for one in root.get("/OutputIntents", ())]
    chosen = [one for one in intents if one.get("/S") == "/GTS_PDFA1"]
    if len(chosen) != 1 or "/DestOutputProfile" not in chosen[0]:
        yield "output intent"
        return
    stream = chosen[0]["/DestOutputProfile"]
    profile = stream.get_data()
    # ICC.1: size in the first four bytes, signature at 36, colour space at 16.
    if int.from_bytes(profile[:4], "big") != len(profile) or profile[36:40] != b"acsp":
        yield "output intent"
    if {b"RGB ": 3, b"GRAY": 1, b"CMYK": 4}.get(profile[16:20]) != stream.get("/N"):
        yield "output intent"


def _of_fonts(reader: PdfReader) -> Iterator[str]:
    """6.2.11.4.1: each font that is used is in the file; 6.2.11.7.2 asks for words to be found again, which B need not and people want."""
    fonts: dict[int, Any] = {}
    for page in reader.pages:
        for font in page["/Resources"].get("/Font", {}).values():  # type: ignore[union-attr]
            fonts[id(font.get_object())] = font.get_object()
    if not fonts:
        yield "fonts"
    for font in fonts.values():
        inner = font["/DescendantFonts"][0].get_object() if font["/Subtype"] == "/Type0" else font
        descriptor = inner.get("/FontDescriptor", {})
        if not any(name in descriptor for name in ("/FontFile", "/FontFile2", "/FontFile3")):
            yield "fonts"
        if "/ToUnicode" not in font:
            yield "words"
        # 6.2.11.3.2: which glyph a character is, for TrueType by its number.
        if font["/Subtype"] == "/Type0" and inner["/Subtype"] == "/CIDFontType2" and "/CIDToGIDMap" not in inner:
            yield "fonts"


def _of_metadata(reader: PdfReader, root: Any, factur_x: bool) -> Iterator[str]:
    stream = root.get("/Metadata")
    if stream is None or "/Filter" in stream:  # 6.6.2.1: in the clear
        yield "metadata"
        return
    tree = etree.fromstring(stream.get_data())

    def text(path: str) -> str | None:
        found = tree.xpath(f"string(//{path})", namespaces=NS)
        return str(found) or None

    if (text("pdfaid:part"), text("pdfaid:conformance")) != ("3", "B"):
        yield "claim"
    # 6.6.3: what the information dictionary says too is said alike.
    info = reader.metadata or DocumentInformation()
    pairs = {
        "/Title": text("dc:title//rdf:li"),
        "/Author": text("dc:creator//rdf:li"),
        "/Creator": text("xmp:CreatorTool"),
        "/Producer": text("pdf:Producer"),
    }
    if any(name in info and info[name] != said for name, said in pairs.items()):
        yield "information"
    # 6.6.2.3.1: names that are not of XMP's own schemas are described.
    described = set(tree.xpath("//pdfaSchema:namespaceURI/text()", namespaces=NS))
    extension = {NS["pdfaExtension"], NS["pdfaSchema"], NS["pdfaProperty"]}
    used = {etree.QName(one).namespace for one in tree.xpath("//rdf:Description/*", namespaces=NS)}
    if used - SIMPLE_PREFIXES - extension - described:
        yield "extension schema"
    if factur_x:
        names = set(tree.xpath("//pdfaProperty:name/text()", namespaces=NS))
        mine = {etree.QName(one).localname for one in tree.xpath("//fx:*", namespaces=NS)}
        if not mine <= names or text("fx:DocumentFileName") != "factur-x.xml" or text("fx:DocumentType") != "INVOICE":
            yield "extension schema"


def _of_files(root: Any, factur_x: bool) -> Iterator[str]:
    """6.8: a file inside is associated with the document, with its kind and why it is there."""
    named = root.get("/Names", {}).get("/EmbeddedFiles", {}).get("/Names", [])
    held = {str(named[place]): named[place + 1].get_object() for place in range(0, len(named), 2)}
    associated = [one.get_object() for one in root.get("/AF", ())]
    if bool(held) is not factur_x or len(associated) != len(held):
        yield "files"
        return
    for name, spec in held.items():
        stream = spec["/EF"]["/F"].get_object()
        if spec not in associated or spec.get("/AFRelationship") != "/Alternative":
            yield "files"
        if (name, str(spec.get("/F")), str(spec.get("/UF"))) != ("factur-x.xml",) * 3:
            yield "files"
        if stream.get("/Subtype") != "/text/xml" or "/ModDate" not in stream.get("/Params", {}):
            yield "files"


@pytest.fixture(scope="module")
def invoice() -> bytes:
    return DocumentPainter().pdf(*made(charge("10.00"), language="de"))


@pytest.mark.parametrize("case", CASES)
def test_invoices_are_what_they_claim(case: str) -> None:
    raw = DocumentPainter().pdf(*CASES[case]())
    assert wrong(raw, factur_x=b"factur-x.xml" in raw) == set()


def _without(name: str) -> Callable[[PdfWriter, Any], None]:
    def change(_: PdfWriter, root: Any) -> None:
        del root[NameObject(name)]

    return change


def _fonts_gone(writer: PdfWriter, _: Any) -> None:
    for font in writer.pages[0]["/Resources"]["/Font"].values():  # type: ignore[index]
        descriptor = font.get_object()["/DescendantFonts"][0].get_object()["/FontDescriptor"]
        del descriptor[NameObject("/FontFile2")]


def _metadata(change: Callable[[bytes], bytes]) -> Callable[[PdfWriter, Any], None]:
    def put(writer: PdfWriter, root: Any) -> None:
        stream = StreamObject()
        stream.set_data(change(root["/Metadata"].get_data()))
        root[NameObject("/Metadata")] = writer._add_object(stream)

    return put


def _otherwise_related(_: PdfWriter, root: Any) -> None:
    root["/AF"][0].get_object()[NameObject("/AFRelationship")] = NameObject("/Data")


def _other_title(writer: PdfWriter, _: Any) -> None:
    writer.add_metadata({"/Title": "Another"})


def _other_profile(writer: PdfWriter, root: Any) -> None:
    stream = StreamObject()
    stream.set_data(b"no profile")
    root["/OutputIntents"][0].get_object()[NameObject("/DestOutputProfile")] = writer._add_object(stream)


def _script(_: PdfWriter, root: Any) -> None:
    root[NameObject("/OpenAction")] = DictionaryObject(
        {NameObject("/S"): NameObject("/JavaScript"), NameObject("/JS"): TextStringObject("1")}
    )


BROKEN: dict[str, tuple[str, Callable[[PdfWriter, Any], None]]] = {
    "no colours": ("output intent", _without("/OutputIntents")),
    "a profile that is none": ("output intent", _other_profile),
    "no metadata": ("metadata", _without("/Metadata")),
    "another part": ("claim", _metadata(lambda raw: raw.replace(b"<pdfaid:part>3", b"<pdfaid:part>1"))),
    "another title": ("information", _other_title),
    "names that nobody described": (
        "extension schema",
        _metadata(lambda raw: raw.replace(b"pdfaSchema:namespaceURI>urn:", b"pdfaSchema:namespaceURI>urm:")),
    ),
    "fonts that are elsewhere": ("fonts", _fonts_gone),
    "a file that belongs to nothing": ("files", _without("/AF")),
    "a file with another meaning": ("files", _otherwise_related),
    "a script": ("action", _script),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_seen(invoice: bytes, name: str) -> None:
    fault, change = BROKEN[name]
    writer = PdfWriter(clone_from=io.BytesIO(invoice))
    change(writer, writer._root_object)
    out = io.BytesIO()
    writer.write(out)
    assert fault in wrong(out.getvalue(), factur_x=True)
