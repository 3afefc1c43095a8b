"""A folder of PNG files, one per picture. Round ones are transparent around the circle."""

from __future__ import annotations

from realtime.errors import BadFile
from realtime.home import user_path
from realtime.media.pictures import check_folder_of, write_picture
from realtime.sinks import SinkBase, SinkOptions
from realtime.types import Picture


class ImagesSink(SinkBase):
    """Writes `000000.png`, `000001.png`, ... into a folder, which is made if its parent exists."""

    def __init__(self, argument: str, options: SinkOptions) -> None:
        super().__init__(options)
        self.folder = user_path(argument)
        self.name = f"images in {argument}"
        self.written = 0

    def check(self) -> None:
        """Raises BadFile where the folder cannot be made, or holds something already."""
        if str(self.folder) in ("", "."):
            raise BadFile("images", "an images sink needs a folder, as in images:frames")
        if self.folder.exists() and (not self.folder.is_dir() or any(self.folder.iterdir())):
            raise BadFile(self.folder, "exists and is not an empty folder")
        check_folder_of(self.folder / "000000.png" if self.folder.exists() else self.folder)

    def open(self, width: int, height: int, fps: float) -> None:
        self.folder.mkdir(exist_ok=True)

    def write(self, picture: Picture) -> None:
        image = picture.image
        if self.options.mark:
            from realtime.media.watermark import marked

            image = marked(image)
        if self.options.round:
            from realtime.media.round import cut_out

            image = cut_out(image)
        write_picture(self.folder / f"{self.written:06d}.png", image)
        self.written += 1

    def close(self) -> None:
        self.made = f"{self.folder}: {self.written} pictures" if self.written else ""
