"""What a detector finds: COCO mAP and task loss, operating points, intervals, the noise of single layers."""
