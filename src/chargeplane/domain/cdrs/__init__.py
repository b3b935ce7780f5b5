"""Sessions and charge detail records: what a transaction is to the business."""
