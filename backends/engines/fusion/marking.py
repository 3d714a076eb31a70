"""
Says on the picture, and in its file, that it was edited by AI; nothing else of it is said.

Pure functions over finished pictures, for the route or page that hands a result out. The file
carries an Exif-free, standard statement: XMP's `DigitalSourceType` and a line of text.
"""

from io import BytesIO

from PIL import ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from backends.engines.picture import Picture

LABEL = "AI-edited"
STATEMENT = "AI-edited: a face in this picture was replaced by software (Quartet)."
_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
XMP = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" '
    'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
    'xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/" '
    f'Iptc4xmpExt:DigitalSourceType="{_SOURCE_TYPE}" xmp:CreatorTool="Quartet">'
    '<dc:description><rdf:Alt><rdf:li xml:lang="x-default">'
    f"{STATEMENT}</rdf:li></rdf:Alt></dc:description>"
    '</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
).encode()


def marked(picture: Picture, label: str = LABEL) -> Picture:
    """The picture with the label in its lower right corner, in a size that can be read."""
    image = picture.image()
    size = max(10, round(min(image.size) / 28))
    font = ImageFont.load_default(size)
    draw = ImageDraw.Draw(image, "RGBA")
    left, top, right, bottom = draw.textbbox((0, 0), label, font=font)
    pad, edge = size * 0.45, size * 0.5
    width, height = right - left + 2 * pad, bottom - top + 2 * pad
    x, y = image.width - width - edge, image.height - height - edge
    draw.rounded_rectangle((x, y, x + width, y + height), radius=pad, fill=(0, 0, 0, 150))
    draw.text((x + pad - left, y + pad - top), label, font=font, fill=(255, 255, 255, 235))
    return Picture(image.width, image.height, image.tobytes(), picture.notes)


def as_png(picture: Picture) -> bytes:
    """Every pixel as it is, and the statement."""
    said = PngInfo()
    said.add_text("Software", "Quartet")
    said.add_text("Description", STATEMENT)
    said.add_itxt("XML:com.adobe.xmp", XMP.decode())
    file = BytesIO()
    picture.image().save(file, "PNG", pnginfo=said, compress_level=6)
    return file.getvalue()


def as_jpeg(picture: Picture, quality: int = 92) -> bytes:
    """Smaller, nearly the same pixels, and the statement."""
    file = BytesIO()
    picture.image().save(
        file, "JPEG", quality=quality, subsampling=0, optimize=True, xmp=XMP, comment=STATEMENT
    )
    return file.getvalue()
