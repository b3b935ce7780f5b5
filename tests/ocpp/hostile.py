"""Frames that no proper station sends. Edges and simulators test with them too."""

from __future__ import annotations

DEPTH = 100_000
MEGABYTE = 1 << 20

HOSTILE: dict[str, bytes] = {
    # no JSON
    "empty": b"",
    "blank": b"   ",
    "text": b"hello",
    "html": b"<html></html>",
    "binary": bytes(range(256)),
    "nul": b"\x00",
    "bad utf-8": b"\xff\xfe[2",
    "byte order mark only": b"\xef\xbb\xbf",
    "truncated in the type": b"[2",
    "truncated in the id": b'[2,"m1',
    "truncated in the action": b'[2,"m1","MeterVal',
    "truncated in the payload": b'[2,"m1","MeterValues",{"connectorId":1,"met',
    "truncated at the end": b'[2,"m1","Heartbeat",{}',
    "trailing garbage": b'[2,"m1","Heartbeat",{}]]',
    "two frames": b'[2,"m1","Heartbeat",{}][2,"m2","Heartbeat",{}]',
    "comments": b'[2,"m1","Heartbeat",{}/* */]',
    "single quotes": b"[2,'m1','Heartbeat',{}]",
    "trailing comma": b'[2,"m1","Heartbeat",{},]',
    "missing value": b'[2,"m1","StopTransaction",{"transactionId":,"meterStop":1}]',
    "NaN": b'[2,"m1","StopTransaction",{"transactionId":NaN}]',
    "Infinity": b'[2,"m1","StopTransaction",{"meterStop":-Infinity}]',
    "leading zero": b'[2,"m1","StopTransaction",{"meterStop":007}]',
    "control character": b'[2,"m1","Authorize",{"idTag":"a\x01b"}]',
    "bad utf-8 in a value": b'[2,"m1","Authorize",{"idTag":"\xff"}]',
    "bad utf-8 in an unknown field": b'[2,"m1","Heartbeat",{"x":"\xff"}]',
    "bad utf-8 in the id": b'[2,"\xff","Heartbeat",{}]',
    "lone surrogate": b'[2,"m1","Authorize",{"idTag":"\\ud800"}]',
    "lone surrogate in the id": b'[2,"\\udfff","Heartbeat",{}]',
    "lone surrogate in an unknown field": b'[2,"m1","Heartbeat",{"x":"\\ud800"}]',
    "deep arrays": b"[" * DEPTH,
    "deep closed arrays": b"[" * DEPTH + b"]" * DEPTH,
    "deep objects": b'[2,"m1","Heartbeat",' + b'{"a":' * DEPTH + b"1" + b"}" * DEPTH + b"]",
    "deep in an answer": b'[3,"m1",' + b"[" * DEPTH + b"]" * DEPTH + b"]",
    "deep in details": b'[4,"m1","X","",' + b"[" * DEPTH + b"]" * DEPTH + b"]",
    # JSON, no frame
    "null": b"null",
    "number": b"17",
    "string": b'"[2]"',
    "object": b'{"messageTypeId":2}',
    "empty array": b"[]",
    "array in array": b'[[2,"m1","Heartbeat",{}]]',
    "type only": b"[2]",
    "type as text": b'["2","m1","Heartbeat",{}]',
    "type as float": b'[2.0,"m1","Heartbeat",{}]',
    "type null": b'[null,"m1","Heartbeat",{}]',
    "type negative": b'[-2,"m1","Heartbeat",{}]',
    "type 0": b'[0,"m1","Heartbeat",{}]',
    "type 1": b'[1,"m1"]',
    "type 99": b'[99,"m1","Heartbeat",{}]',
    "type past 64 bits": b'[99999999999999999999999,"m1","Heartbeat",{}]',
    "id as number": b'[2,17,"Heartbeat",{}]',
    "id null": b'[2,null,"Heartbeat",{}]',
    "id as object": b'[2,{},"Heartbeat",{}]',
    "id with NUL": b'[2,"a\\u0000b","Heartbeat",{}]',
    "id of a megabyte": b'[2,"' + b"x" * MEGABYTE + b'","Heartbeat",{}]',
    "id of a megabyte, cut": b'[2,"' + b"x" * MEGABYTE,
    "id of a megabyte in an answer": b'[3,"' + b"x" * MEGABYTE + b'",{}]',
    "no action": b'[2,"m1"]',
    "action as number": b'[2,"m1",5,{}]',
    "action null": b'[2,"m1",null,{}]',
    "action empty": b'[2,"m1","",{}]',
    "action of a megabyte": b'[2,"m1","' + b"A" * MEGABYTE + b'",{}]',
    "action with NUL": b'[2,"m1","Heart\\u0000beat",{}]',
    "action in lower case": b'[2,"m1","heartbeat",{}]',
    "unknown action": b'[2,"m1","Frobnicate",{}]',
    "CSMS's own action": b'[2,"m1","Reset",{"type":"Hard"}]',
    # frames with wrong payloads
    "no payload": b'[2,"m1","Authorize"]',
    "payload null": b'[2,"m1","Authorize",null]',
    "payload as text": b'[2,"m1","Authorize","x"]',
    "payload as array": b'[2,"m1","Authorize",[]]',
    "payload as number": b'[2,"m1","Authorize",1e400000]',
    "int past 31 bits": b'[2,"m1","MeterValues",{"connectorId":2147483648,"meterValue":[]}]',
    "int past 64 bits": b'[2,"m1","MeterValues",{"connectorId":99999999999999999999,"meterValue":[]}]',
    "int of a megabyte": b'[2,"m1","MeterValues",{"connectorId":' + b"9" * MEGABYTE + b',"meterValue":[]}]',
    "exponent": b'[2,"m1","MeterValues",{"connectorId":1e400000,"meterValue":[]}]',
    "SQL": b'[2,"m1","Authorize",{"idTag":"\'; DROP TABLE station; --"}]',
    "empty objects": b'[2,"m1","MeterValues",{"connectorId":1,"meterValue":[{}]}]',
    "object in place of an array": b'[2,"m1","MeterValues",{"connectorId":1,"meterValue":{}}]',
    # answers nobody asked for
    "foreign answer": b'[3,"m1",{}]',
    "foreign error": b'[4,"m1","GenericError","",{}]',
    "foreign error without id": b'[4,"-1","GenericError","",{}]',
    "answer without id": b"[3]",
    "answer with a number for id": b"[3,5,{}]",
    "broken answer": b'[3,"m1",{',
    "error without id": b"[4]",
    "description of a megabyte": b'[4,"m1","GenericError","' + b"x" * MEGABYTE + b'",{}]',
    "result error": b'[5,"m1","GenericError","",{}]',
    "result error without id": b"[5]",
    "send": b'[6,"m1","Heartbeat",{}]',
    "send without id": b"[6]",
}
"""Name -> frame. Each gets a CALLERROR or is an answer or SEND, which get none."""

for _number in ('"sNaN"', '"NaN"', '"Infinity"', '"1E+999999"', "1E+999999", "1e400000", "1E-999999", "9" * 5000):
    HOSTILE[f"decimal {_number[:20]}"] = (
        b'[2,"m1","MeterValues",{"evseId":1,"meterValue":[{"timestamp":"2026-01-31T12:00:00Z",'
        b'"sampledValue":[{"value":%b}]}]}]' % _number.encode()
    )

FORGIVEN: dict[str, bytes] = {
    "duplicate keys": b'[2,"m1","Heartbeat",{"a":1,"a":2}]',
    "unknown field": b'[2,"m1","Heartbeat",{"a":[{"b":null}]}]',
    "NUL in a value": b'[2,"m1","DataTransfer",{"vendorId":"a\\u0000b"}]',
    "byte order mark": b'\xef\xbb\xbf[2,"m1","Heartbeat",{}]',
    "blanks": b' [ 2 , "m1" ,\n"Heartbeat",\t{ } ] \r\n',
    "NUL at the end": b'[2,"m1","Heartbeat",{}]\x00',
    "elements too many": b'[2,"m1","Heartbeat",{},{},"x"]',
    "escaped id": b'[2,"\\u006d1","Heartbeat",{}]',
    "empty id": b'[2,"","Heartbeat",{}]',
    "id of 128 characters": b'[2,"%b","Heartbeat",{}]' % (b"x" * 128),
}
"""Name -> frame. Odd, but understood; answered as a call."""
