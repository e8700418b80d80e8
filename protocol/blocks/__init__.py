"""Bytes and links: blocks named by their CID, the trees and files they are in, and contents made of them."""
