"""Draw a contact sheet of clips and images of a manifest, with captions."""

import argparse

from phenaki_jax.cli.arguments import add_numbers, count, positive, seed

EXAMPLES = """
  phenaki data inspect data/manifest --out sheet.png
  phenaki data inspect data/manifest --out sheet.png --clips 4 --size 128
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Declare the arguments."""
  parser.add_argument('folder', metavar='DIR', help='folder of the manifest')
  parser.add_argument(
    '--out', required=True, metavar='FILE', help='picture to write (.png)'
  )
  add_numbers(
    parser,
    ('clips', count, 6, 'clips shown'),
    ('images', count, 18, 'images shown'),
    ('seed', seed, 0, 'of the choice'),
    ('size', positive, 96, 'side in pixels'),
    ('frames', positive, 9, 'frames of a clip'),
    ('fps', positive, 8, 'frames per second'),
  )


def run(args: argparse.Namespace) -> None:
  """Draw a contact sheet."""
  from phenaki_jax.data import manifest, schema
  from phenaki_jax.data.examples import pick
  from phenaki_jax.data.report import counted
  from phenaki_jax.files.atomic import replace_file
  from phenaki_jax.media import fonts
  from phenaki_jax.media.contact_sheet import contact_sheet
  from phenaki_jax.media.png import write_png

  content = manifest.Manifest(args.folder)
  request = schema.ExampleRequest(
    size=(args.size, args.size), frames=args.frames, fps=float(args.fps)
  )
  clips, images = (
    pick(content, kind, count=number, request=request, seed=args.seed)
    for kind, number in ((schema.CLIP, args.clips), (schema.IMAGE, args.images))
  )
  shown = (
    f'{len(clips)} of {counted(clip=content.header["clips"])}, '
    f'{len(images)} of {counted(image=content.header["images"])}'
  )
  sheet = contact_sheet(
    [(clip.caption, clip.pixels[: clip.num_frames]) for clip in clips],
    images=[(image.caption, image.pixels) for image in images],
    columns=9,
    min_height=1,
    min_width=896,
    font_size=11,
    max_lines=5,
    title=f'{shown}, manifest {content.hash[:12]}',
  )
  provenance = {'notice': 'examples of a dataset', 'manifest': content.hash}
  write_png(args.out, sheet, provenance=provenance)
  print(f'wrote {args.out}: {shown}')
  captions = [example.caption for example in (*clips, *images)]
  if missing := fonts.missing(''.join(captions)):
    replace_file(f'{args.out}.txt', ('\n'.join(captions) + '\n').encode())
    print(
      f'the fonts lack {counted(character=len(missing))} ({missing[:20]}) '
      'and show boxes instead; wrote all captions as text to '
      f'{args.out}.txt'
    )
