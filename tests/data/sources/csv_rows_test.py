import csv
import io
import random

import pytest

from phenaki_jax.data.sources import csv_rows

HEADER = 'id,page,name'


def read(tmp_path, text, key='id'):
  """Return the rows of a table, each as its values or its fault."""
  path = tmp_path / 'a.csv'
  path.write_bytes(text if isinstance(text, bytes) else text.encode())
  return [
    (row.line, row.fault or list(row.values.values()))
    for row in csv_rows.read_rows(path, key=key)
  ]


def test_rows_are_those_of_the_csv_module(tmp_path):
  rng = random.Random(0)
  rows = []
  for i in range(500):
    words = rng.choices(['a', ' ', ',', '"', '\n', '\r\n', 'é', "'", '日'], k=9)
    # A key has no spaces, so no part of a caption reads as a row.
    rows.append([f'{i:03d}', f'p{i % 7}', ''.join(words).replace(',', ';')])
  for end in ('\n', '\r\n'):
    target = io.StringIO()
    csv.writer(target, lineterminator=end).writerows([HEADER.split(','), *rows])
    found = [values for _, values in read(tmp_path, target.getvalue())]
    assert found == rows


@pytest.mark.parametrize('first', [True, False])
def test_captions_may_have_commas_and_line_breaks(tmp_path, first):
  caption = 'one, two, three\nfour, five'
  names = ['name', 'id', 'page'] if first else ['id', 'page', 'name']
  row = {'id': '1', 'page': 'p', 'name': caption}
  target = io.StringIO()
  table = csv.DictWriter(target, names)
  table.writeheader()
  table.writerows([row, row | {'id': '2'}])
  found = [values for _, values in read(tmp_path, target.getvalue())]
  expected = [[(row | {'id': i})[name] for name in names] for i in '12']
  assert found == expected


@pytest.mark.parametrize(
  'caption, fault',
  [
    ('"open', csv_rows.QUOTES),
    ('"', csv_rows.QUOTES),
    ('"""', csv_rows.QUOTES),
    ('"a" b', csv_rows.QUOTES),
    (r'"a \"b\" c"', csv_rows.QUOTES),
    ('a, b', csv_rows.MALFORMED),
    (b'caf\xe9', csv_rows.NOT_UTF8),
    (b'"caf\xe9, noir"', csv_rows.NOT_UTF8),
    (b'\xff\xfe\x00', csv_rows.NOT_UTF8),
    ('"' + 'x' * 200_000 + '"', csv_rows.QUOTES),
  ],
)
@pytest.mark.parametrize('place', [0, 3, 5])
def test_a_bad_row_is_a_fault_and_the_others_are_read(
  tmp_path, caption, fault, place
):
  captions = [f'"thing, {i}"' if i == 4 else f'thing {i}' for i in range(6)]
  captions[place] = caption
  lines = [HEADER.encode()] + [
    f'{i},p,'.encode() + (c if isinstance(c, bytes) else c.encode())
    for i, c in enumerate(captions)
  ]
  found = read(tmp_path, b'\n'.join(lines) + b'\n')
  expected = [
    (i + 2, fault if i == place else [str(i), 'p', captions[i].strip('"')])
    for i in range(6)
  ]
  assert found == expected


def test_two_stray_quotes_do_not_join_rows(tmp_path):
  lines = [HEADER, '0,p,x', '1,p,"open', '2,p,x', '3,p,close"', '4,p,x']
  assert read(tmp_path, '\n'.join(lines)) == [
    (2, ['0', 'p', 'x']),
    (3, csv_rows.QUOTES),
    (4, ['2', 'p', 'x']),
    (5, ['3', 'p', 'close"']),
    (6, ['4', 'p', 'x']),
  ]


def test_a_quote_that_is_never_closed_costs_one_row(tmp_path):
  # No line after it reads as a row, so all are searched for its end.
  lines = [HEADER, '1,p,"open', *['x'] * 300]
  found = read(tmp_path, '\n'.join(lines))
  assert [fault for _, fault in found] == [
    csv_rows.QUOTES,
    *[csv_rows.MALFORMED] * 300,
  ]
  assert found[-1][0] == 302


@pytest.mark.parametrize(
  'text',
  [
    ',id,page,name\n0,1,p,a\n1,2,p,b\n',
    'id,page,name,\n1,p,a,\n2,p,b,\n',
    'id,page,name,,\n1,p,a\n2,p,b,,\n',
    'id,page,name\n1,p,a,,\n2,p,b, \n',
    '\ufeffid,page,name\r\n1,p,a\r\n\r\n2,p,b',
    '\n"id","page","name"\n"1","p","a"\n"2","p","b"\n',
    'id , page, name\n1,p,a\n2,p,b\n',
  ],
)
def test_unnamed_columns_and_trailing_commas_are_dropped(tmp_path, text):
  found = [values for _, values in read(tmp_path, text)]
  assert found == [['1', 'p', 'a'], ['2', 'p', 'b']]
  header = csv_rows.read_header(tmp_path / 'a.csv')
  assert [name for name in header if name] == ['id', 'page', 'name']


def test_spaces_after_the_commas_of_the_header_are_those_of_the_rows(tmp_path):
  found = read(tmp_path, 'id, page, name\n1, p, "a, b"\n2, p, c\n')
  assert found[0] == (2, ['1', 'p', 'a, b'])
  assert [value.strip() for value in found[1][1]] == ['2', 'p', 'c']


def test_files_without_rows_have_none(tmp_path):
  for text in ('', '\n\n', HEADER):
    assert read(tmp_path, text) == []
